"""The oracle: layer logits computed by PyTorch, with none of the exporter's knowledge.

Hidden states come from `output_hidden_states=True`. They meet the checkpoint's own head, whatever that does
(bias, scaling, soft cap): the model is run once more with a decoder that hands it those hidden states.
"""

import inspect
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from lager_onnx.models.errors import ExportError
from lager_onnx.models.spec import Lens

Array = npt.NDArray[np.float32]


@torch.no_grad()
def oracle_layer_logits(
    model: PreTrainedModel, input_ids: npt.NDArray[np.int64], lengths: list[int], token_ids: tuple[int, ...], lens: Lens
) -> Array:
    """z(l) = W h(l) + b of docs/method.md, section 1, at the last token of every row, (batch, L + 1, K).

    Row L is read from the model's own logits, rows below from `hidden_states`: whether the last entry of
    `hidden_states` has been through the final norm differs between families and does not matter here.

    Args:
        model: float32 decoder in eval mode.
        input_ids: (batch, sequence), right-padded.
        lengths: number of tokens of every row.
        token_ids: ids of the K score tokens.
        lens: "raw", or "norm" for the final norm on every row.
    """
    ids = torch.from_numpy(input_ids)
    mask = (torch.arange(ids.shape[1])[None, :] < torch.tensor(lengths)[:, None]).long()
    rows, last = torch.arange(len(lengths)), torch.tensor(lengths) - 1
    kept, where = torch.unique(last, return_inverse=True)
    arguments: dict[str, Any] = {"logits_to_keep": kept}
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        arguments, where = {}, last
    output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False, **arguments)
    below = torch.stack([hidden[rows, last] for hidden in output.hidden_states[:-1]], dim=1)  # (batch, L, hidden)
    if lens == "norm":
        below = _final_norm(model)(below)
    selected = list(token_ids)
    layer_logits = torch.cat([_head(model, below)[..., selected], output.logits[rows, where][:, None, selected]], 1)
    return layer_logits.float().numpy()


class _Given(BaseModelOutputWithPast):  # type: ignore[misc]
    """Hidden states, and None for whatever else a head looks for in its decoder's output, such as router logits."""

    def __getattr__(self, name: str) -> None:
        return None


def _head(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """The checkpoint's own logits of any hidden states: (batch, n, hidden) to (batch, n, vocabulary)."""
    decoder = model.get_decoder()
    if decoder is model:  # an architecture that does not name its decoder
        decoder = model.base_model
    given = _Given(last_hidden_state=hidden)
    with patch.object(decoder, "forward", lambda *_args, **_kwargs: given):
        logits: torch.Tensor = model(input_ids=torch.zeros(hidden.shape[:2], dtype=torch.long)).logits
    return logits


def _final_norm(model: PreTrainedModel) -> torch.nn.Module:
    norm = getattr(model.get_decoder(), "norm", None)
    if not isinstance(norm, torch.nn.Module):
        raise ExportError(f"{type(model).__name__} has no final norm under the name 'model.norm': lens 'norm' needs it")
    return norm


@torch.no_grad()
def round_matrices(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Rounds the body's matrices to 16 bits, in place, as a judge stores them; vectors and the unembedding stay."""
    head = model.get_output_embeddings()
    if head.weight is model.get_input_embeddings().weight:  # tied
        head.weight = torch.nn.Parameter(head.weight.clone(), requires_grad=False)
    for parameter in model.parameters():
        if parameter.ndim > 1 and parameter is not head.weight:
            parameter.copy_(parameter.to(dtype))
