"""Ways to grade the same prompts: ours, and what a user would take instead.

Each takes lists of token ids and returns scores, so that what they agree on is measured too: LAGER's, the
expectation of the last layer (G-Eval's), or both.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import peers

from lager_onnx.models.spec import GRAPH_FILE, JudgeSpec

Prompts = list[list[int]]
Scores = dict[str, npt.NDArray[np.float64]]  # "lager", "expectation": (prompts,)
Grade = Callable[[Prompts], Scores]

_BATCH = 8
_REFERENCE_LENGTH, _REFERENCE_BATCH, _REFERENCE_TOKENS = 2048, 4, 10


def lager(judge: Path, checkpoint: str, threads: int) -> Grade:  # noqa: ARG001 - all contenders are called alike
    """This project."""
    from lager_onnx.runtime.engines.open import open_engine  # noqa: PLC0415

    spec = JudgeSpec.load(judge)
    engine = open_engine(judge / GRAPH_FILE, device="cpu", threads=threads, precision=spec.precision)
    values = np.array(spec.scale.values)

    def grade(prompts: Prompts) -> Scores:
        graded = [outputs for outputs in engine.submit(prompts)() if outputs]
        last = np.stack([outputs["layer_logits"][-1] for outputs in graded])
        return {
            "lager": np.array([outputs["score"] for outputs in graded], dtype=np.float64),
            "expectation": _expected(last, values),
        }

    return grade


def peer(last_logits: peers.Opener) -> Callable[[Path, str, int], Grade]:
    """An engine that shows the last layer's logits only."""

    def opened(judge: Path, checkpoint: str, threads: int) -> Grade:
        spec = JudgeSpec.load(judge)
        logits, values = last_logits(spec, checkpoint, judge.parent / "peers", threads), np.array(spec.scale.values)
        return lambda prompts: {"expectation": _expected(logits(prompts), values)}

    return opened


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
    def grade(prompts: Prompts) -> Scores:
        layer_logits = []
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
            layer_logits.append((hidden.float() @ rows.T).numpy())
        return _both(np.concatenate(layer_logits), values)

    return grade


REFERENCE = "the paper's procedure"
CONTENDERS: dict[str, Callable[[Path, str, int], Grade]] = {
    "lager-onnx fp32": lager,
    "lager-onnx int8": lager,
    "lager-onnx int4": lager,
    "transformers fp32": transformers_fp32,
    "transformers bf16": transformers_bf16,
    "optimum's graph": peer(peers.optimum),
    **{f"onnxruntime-genai {name}": peer(peers.onnxruntime_genai(name)) for name in ("fp32", "int4")},
    **{f"llama.cpp {precision}": peer(peers.llama_cpp(precision)) for precision in peers.LLAMA_CPP},
    **{f"OpenVINO {precision}": peer(peers.openvino(precision)) for precision in ("f32", "bf16", "int8")},
    REFERENCE: reference_procedure,
}


def _load(judge: Path, checkpoint: str, threads: int, dtype: str):
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    torch.set_num_threads(threads)
    where = peers.hugging_face(checkpoint, judge.parent / "peers")
    found = AutoModelForCausalLM.from_pretrained(where, dtype=getattr(torch, dtype), output_loading_info=True)
    return peers.loaded_whole(found).eval(), JudgeSpec.load(judge)


def _transformers(judge: Path, checkpoint: str, threads: int, dtype: str) -> Grade:
    import torch  # noqa: PLC0415

    model, spec = _load(judge, checkpoint, threads, dtype)
    rows, values = model.lm_head.weight[list(spec.score_token_ids)].float(), np.array(spec.scale.values)

    @torch.inference_mode()
    def grade(prompts: Prompts) -> Scores:
        layer_logits = np.zeros((len(prompts), model.config.num_hidden_layers + 1, len(values)), np.float32)
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
            layer_logits[batch] = (hidden.float() @ rows.T).numpy()
        return _both(layer_logits, values)

    return grade


def _both(layer_logits: npt.NDArray[np.float32], values: npt.NDArray[np.float64]) -> Scores:
    """Untuned LAGER and the expectation of the last layer, from layer logits (prompts, L + 1, K)."""
    mean = layer_logits.mean(axis=1, dtype=np.float64)
    return {"lager": _expected(mean, values), "expectation": _expected(layer_logits[:, -1], values)}


def _expected(logits: npt.NDArray[np.floating], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Expected values under the softmax of logits (prompts, K)."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    expected: npt.NDArray[np.float64] = exponentials @ values / exponentials.sum(axis=-1)
    return expected
