"""Rotary embeddings as tables, computed by the checkpoint's own modules."""

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

Array = npt.NDArray[np.float32]

_MODULES = {"global": "rotary_emb", "local": "rotary_emb_local"}


@torch.no_grad()
def rotary_tables(model: PreTrainedModel, positions: int) -> dict[str, tuple[Array, Array]]:
    """Cosines and sines by kind of rotary embedding, each (positions, rotary size / 2).

    Scalings of the angles (linear, Llama 3, YaRN) are in them, whatever they are.
    """
    decoder, tables = model.get_decoder(), {}
    ids = torch.arange(positions)[None, :]
    for kind, name in _MODULES.items():
        module = getattr(decoder, name, None)
        if module is not None:
            cos, sin = module(torch.zeros(1, 1, 1), ids)  # (1, positions, rotary size), its halves alike
            half = cos.shape[-1] // 2
            tables[kind] = cos[0, :, :half].float().numpy(), sin[0, :, :half].float().numpy()
    return tables
