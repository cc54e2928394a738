"""The oracle: layer logits computed by PyTorch, with none of the exporter's knowledge.

Hidden states are what every decoder layer is given, as `output_hidden_states=True` has them, kept at the score position
only. They meet the checkpoint's own head, whatever that does (bias, scaling, soft cap): the model is run once more with
a decoder that hands it those hidden states. Weights are in memory while their module computes, and no longer.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from lager_onnx.export.skeleton import with_weights
from lager_onnx.export.sources.tensors import Tensors
from lager_onnx.export.verify.parity import padded_batches
from lager_onnx.models.errors import ExportError
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import JudgeSpec

Array = npt.NDArray[np.float32]

_DTYPES: Final = {"fp16": torch.float16, "bf16": torch.bfloat16}


@torch.no_grad()
def oracle_layer_logits(
    model: PreTrainedModel,
    tensors: Tensors,
    prompts: Sequence[list[int]],
    spec: JudgeSpec,
    rounded: Precision | None = None,
) -> Array:
    """z(l) = W h(l) + b of docs/method.md, section 1, at the last token of every prompt, (prompts, 2 (L + 1), K).

    The last row is the model's own logits. Hidden states are what the decoder layers and the final norm are given:
    whether the last of `output_hidden_states` has been through the norm differs between families.

    Args:
        model: without weights, or with them.
        tensors: under the names of its parameters; read once for all prompts, or twice where some are long.
        prompts: token ids.
        spec: the judge's score tokens.
        rounded: 16 bits to which a judge rounds the matrices of its body.
    """
    found: dict[int, Array] = {}
    dtype = _DTYPES.get(rounded) if rounded else None
    head = next((path for path, module in model.named_modules() if module is model.get_output_embeddings()), "")
    change = partial(_round_matrix, head, dtype) if dtype is not None else None
    with with_weights(model, tensors, change):
        for batch in padded_batches(prompts):
            layer_logits = _of_batch(model, [prompts[index] for index in batch], spec)
            found |= dict(zip(batch, layer_logits, strict=True))
    return np.stack([found[index] for index in range(len(prompts))])


def _of_batch(model: PreTrainedModel, prompts: Sequence[list[int]], spec: JudgeSpec) -> Array:
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(prompt) for prompt in prompts], batch_first=True)
    mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
    rows, last = torch.arange(len(prompts)), lengths - 1
    kept, where = torch.unique(last, return_inverse=True)
    arguments: dict[str, Any] = {"logits_to_keep": kept}
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        arguments, where = {}, last
    with _layer_inputs(model, rows, last) as hidden_states, _final_norm(model) as found:
        output = model(input_ids=ids, attention_mask=mask, use_cache=False, **arguments)
    norm, final = found[-1]
    below = torch.stack(hidden_states, dim=1)  # (prompts, L, hidden)
    raw = torch.cat([below, final[rows, last][:, None]], dim=1)
    above = output.logits[rows, where][:, None]
    logits = torch.cat([_head(model, raw), _head(model, norm(below)), above], dim=1)
    return logits[..., list(spec.score_token_ids)].float().numpy()


@contextmanager
def _layer_inputs(model: PreTrainedModel, rows: torch.Tensor, last: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Collects what every decoder layer is given, at the last token of every row, (rows, hidden)."""
    count = model.config.get_text_config().num_hidden_layers
    lists = (module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == count)
    layers = next(lists, None)
    if layers is None:
        raise ExportError(
            f"{type(model).__name__} has no list of {count} layers, whose hidden states could be compared"
        )
    found: list[torch.Tensor] = []
    bar = tqdm(total=count, desc="    PyTorch", unit=" layers", disable=None, leave=False)

    def keep(_layer: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        hidden = arguments[0] if arguments else named["hidden_states"]
        found.append(hidden[rows, last].clone())
        bar.update()

    hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in layers]
    try:
        yield found
    finally:
        bar.close()
        for hook in hooks:
            hook.remove()


class _Given(BaseModelOutputWithPast):  # type: ignore[misc]
    """Hidden states, and None for whatever else a head looks for in its decoder's output, such as router logits."""

    def __getattr__(self, name: str) -> None:
        return None


def _decoder(model: PreTrainedModel) -> torch.nn.Module:
    decoder = model.get_decoder()
    if decoder is model:  # an architecture that does not name its decoder
        decoder = model.base_model
    assert isinstance(decoder, torch.nn.Module)
    return decoder


def _head(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """The checkpoint's own logits of any hidden states: (batch, n, hidden) to (batch, n, vocabulary)."""
    given = _Given(last_hidden_state=hidden)
    with patch.object(_decoder(model), "forward", lambda *_args, **_kwargs: given):
        logits: torch.Tensor = model(input_ids=torch.zeros(hidden.shape[:2], dtype=torch.long)).logits
    return logits


@contextmanager
def _final_norm(model: PreTrainedModel) -> Iterator[list[tuple[torch.nn.Module, torch.Tensor]]]:
    """Keeps the last module that the decoder runs by itself, which is its final norm, and what it is given."""
    found: list[tuple[torch.nn.Module, torch.Tensor]] = []

    def keep(module: torch.nn.Module, arguments: tuple[Any, ...], _output: Any) -> None:
        found[:] = [(module, arguments[0])]

    parts = [part for part in _decoder(model).children() if not isinstance(part, torch.nn.ModuleList)]
    hooks = [part.register_forward_hook(keep) for part in parts]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _round_matrix(head: str, dtype: torch.dtype, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A parameter as a judge stores it: the body's matrices in 16 bits; vectors and the unembedding as they are."""
    return tensor if tensor.ndim == 1 or name.rpartition(".")[0] == head else tensor.to(dtype)
