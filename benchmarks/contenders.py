"""Ways to grade the same prompts: ours, and what a user would take instead.

Each takes lists of token ids and returns one LAGER score a prompt, so that what they agree on is measured too.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lager_onnx.models.spec import GRAPH_FILE, JudgeSpec

Prompts = list[list[int]]
Grade = Callable[[Prompts], npt.NDArray[np.float64]]

_BATCH = 8
_REFERENCE_LENGTH, _REFERENCE_BATCH, _REFERENCE_TOKENS = 2048, 4, 10


def lager(judge: Path, _checkpoint: str, threads: int) -> Grade:
    """This project."""
    from lager_onnx.runtime.engine import open_engine  # noqa: PLC0415
    from lager_onnx.runtime.judge import BATCH_TOKENS  # noqa: PLC0415

    engine = open_engine(judge / GRAPH_FILE, device="cpu", threads=threads)

    def grade(prompts: Prompts) -> npt.NDArray[np.float64]:
        return np.array([outputs["score"] for outputs in engine.start(prompts, BATCH_TOKENS)() if outputs])

    return grade


def transformers_fp32(judge: Path, checkpoint: str, threads: int) -> Grade:
    """PyTorch's model with sdpa attention and the last token's logits only, in batches of like length."""
    return _transformers(judge, checkpoint, threads, "float32")


def transformers_bf16(judge: Path, checkpoint: str, threads: int) -> Grade:
    """The same in bfloat16."""
    return _transformers(judge, checkpoint, threads, "bfloat16")


def reference_procedure(judge: Path, checkpoint: str, threads: int) -> Grade:
    """What the paper's code does: 2,048 padded tokens, bfloat16, ten new tokens, all hidden states in Python."""
    import torch  # noqa: PLC0415

    model, spec = _load(judge, checkpoint, threads, "bfloat16")
    rows = model.lm_head.weight[list(spec.score_token_ids)].float()
    values = np.array(spec.scale.values)

    @torch.inference_mode()
    def grade(prompts: Prompts) -> npt.NDArray[np.float64]:
        scores = []
        for first in range(0, len(prompts), _REFERENCE_BATCH):
            batch = prompts[first : first + _REFERENCE_BATCH]
            ids = torch.zeros((len(batch), _REFERENCE_LENGTH), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, prompt in enumerate(batch):
                ids[row, -len(prompt) :], mask[row, -len(prompt) :] = torch.tensor(prompt), 1
            output = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=_REFERENCE_TOKENS, do_sample=False, pad_token_id=0,
                output_hidden_states=True, return_dict_in_generate=True,
            )  # fmt: skip
            hidden = torch.stack([state[:, -1] for state in output.hidden_states[0]], dim=1)
            scores += _expected((hidden.float() @ rows.T).numpy(), values)
        return np.array(scores)

    return grade


CONTENDERS: dict[str, Callable[[Path, str, int], Grade]] = {
    "lager-onnx fp32": lager,
    "lager-onnx int8": lager,
    "transformers fp32": transformers_fp32,
    "transformers bf16": transformers_bf16,
    "reference procedure": reference_procedure,
}


def _load(judge: Path, checkpoint: str, threads: int, dtype: str):
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    torch.set_num_threads(threads)
    path = Path(checkpoint)
    where = (str(path.parent), path.name) if path.suffix == ".gguf" else (checkpoint, None)
    model = AutoModelForCausalLM.from_pretrained(where[0], gguf_file=where[1], dtype=getattr(torch, dtype)).eval()
    return model, JudgeSpec.load(judge)


def _transformers(judge: Path, checkpoint: str, threads: int, dtype: str) -> Grade:
    import torch  # noqa: PLC0415

    model, spec = _load(judge, checkpoint, threads, dtype)
    rows, values = model.lm_head.weight[list(spec.score_token_ids)].float(), np.array(spec.scale.values)

    @torch.inference_mode()
    def grade(prompts: Prompts) -> npt.NDArray[np.float64]:
        scores = np.zeros(len(prompts))
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        for first in range(0, len(order), _BATCH):
            batch = order[first : first + _BATCH]
            last = torch.tensor([len(prompts[index]) - 1 for index in batch])
            ids = torch.zeros((len(batch), int(last.max()) + 1), dtype=torch.long)
            for row, index in enumerate(batch):
                ids[row, : len(prompts[index])] = torch.tensor(prompts[index])
            mask = (torch.arange(ids.shape[1]) <= last[:, None]).long()
            every = bool(mask.all())  # without padding, sdpa needs no mask and is faster
            output = model(ids, None if every else mask, output_hidden_states=True, logits_to_keep=1, use_cache=False)
            hidden = torch.stack([state[range(len(batch)), last] for state in output.hidden_states], dim=1)
            scores[batch] = _expected((hidden.float() @ rows.T).numpy(), values)
        return scores

    return grade


def _expected(layer_logits: npt.NDArray[np.float32], values: npt.NDArray[np.float64]) -> list[float]:
    """Scores of untuned LAGER from layer logits (batch, L + 1, K): METHOD's formulas in numpy."""
    logits = layer_logits.mean(axis=1, dtype=np.float64)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return list(exponentials @ values / exponentials.sum(axis=-1))
