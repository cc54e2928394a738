"""What transformers passes over in a GGUF file: parts, numbers of the configuration, rope factors, surplus tensors."""

from pathlib import Path
from typing import Any, Final

import torch
from gguf import GGUFReader, dequantize
from transformers import PreTrainedModel
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
from transformers.modeling_gguf_pytorch_utils import get_gguf_hf_weights_map

from lager_onnx.models.errors import CheckpointError

_INSTEAD: Final = "Export the checkpoint's Hugging Face directory instead"
_ROPE_FACTORS: Final = "rope_freqs.weight"
# Keys of the architecture that change nothing which is computed here, or only say again what tensors show.
_HARMLESS: Final = {
    "vocab_size",
    "rope.dimension_count",
    "attention.causal",
    "attention.key_length",
    "tensor_data_layout",
}
# Keys that transformers does not read, and the configuration's number that must agree with them.
_MUST_AGREE: Final = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "attention.sliding_window": "sliding_window",
    "attention.value_length": "head_dim",
    "attention.key_length": "head_dim",
    "logit_scale": "logit_scale",
}


def open_gguf(path: Path) -> GGUFReader:
    """Reads the header of a GGUF file.

    Raises:
        CheckpointError: it is damaged, or one part of several.
    """
    try:
        reader = GGUFReader(path)
    except Exception as error:  # gguf raises whatever the broken bytes lead to
        raise CheckpointError(f"cannot load the checkpoint {path}: it is damaged or no GGUF file ({error})") from error
    parts = _value(reader, "split.count")
    if parts and int(parts) > 1:
        raise CheckpointError(
            f"{path} is one part of {parts}: join them first, with llama-gguf-split --merge FIRST_PART JOINED.gguf"
        )
    return reader


def complete(reader: GGUFReader, path: Path, model: PreTrainedModel) -> None:
    """Holds a loaded model against the file, and applies the rope factors that the file has (Llama 3.1's).

    Raises:
        CheckpointError: the file has a tensor or a number that was not read.
    """
    architecture = str(_value(reader, "general.architecture"))
    _check_keys(reader, path, architecture, model.config)
    read = set(get_gguf_hf_weights_map(model)) | {_ROPE_FACTORS}
    if surplus := [tensor.name for tensor in reader.tensors if tensor.name not in read]:
        raise CheckpointError(f"{path} holds tensors that are not read: {', '.join(surplus[:6])}. {_INSTEAD}")
    factors = next((tensor for tensor in reader.tensors if tensor.name == _ROPE_FACTORS), None)
    if factors is not None:
        _divide_frequencies(model, torch.from_numpy(dequantize(factors.data, factors.tensor_type).copy()), path)


def _check_keys(reader: GGUFReader, path: Path, architecture: str, config: Any) -> None:
    read = GGUF_CONFIG_MAPPING.get(architecture, {})
    for key in reader.fields:
        name = key.removeprefix(f"{architecture}.")
        if name == key or (name in read and read[name] not in (None, -1)):
            continue
        value = _value(reader, key)
        if name in _MUST_AGREE and getattr(config, _MUST_AGREE[name], value) == value:
            continue
        if name in _HARMLESS or (name == "rope.scaling.type" and value == "none") or value == 0:
            continue
        raise CheckpointError(f"{path} says {key} = {value}, which is not read from a GGUF file. {_INSTEAD}")


def _divide_frequencies(model: PreTrainedModel, factors: torch.Tensor, path: Path) -> None:
    rotary = getattr(model.get_decoder(), "rotary_emb", None)
    frequencies = getattr(rotary, "inv_freq", None)
    if rotary is None or frequencies is None or frequencies.shape != factors.shape:
        raise CheckpointError(f"{path} holds rope factors that this architecture has no place for. {_INSTEAD}")
    rotary.inv_freq = frequencies / factors.to(frequencies.dtype)
    rotary.original_inv_freq = rotary.inv_freq


def _value(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()
