"""GGUF files: their tensors one at a time, and what transformers passes over in them.

That is: parts, numbers of the configuration, rope factors, surplus tensors.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import gguf
import torch
from gguf import GGUFReader, dequantize
from transformers import PreTrainedModel
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

from lager_onnx.export.sources.gguf_config import reads
from lager_onnx.export.sources.gguf_header import INSTEAD, value_of
from lager_onnx.export.weights import ROWS_AT_ONCE
from lager_onnx.models.errors import CheckpointError

_ROPE_FACTORS: Final = "rope_freqs.weight"
# Keys of the architecture that change nothing which is computed here, or only say again what tensors show.
_HARMLESS: Final = {
    "vocab_size",
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
    "rope.freq_base_swa": "rope_local_base_freq",
}
_PART: Final = re.compile(r"^(?P<name>.*)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf$")
# Tensors whose rows transformers leaves in their order, so that some of them can be read alone.
_READ_BY_ROWS: Final = ("token_embd.weight", "output.weight")


def open_gguf(path: Path) -> GGUFReader:
    """Reads the header of a GGUF file; if it is the first of several parts, the tensors of all are in it.

    Raises:
        CheckpointError: one is damaged or missing, or the file is a later part.
    """
    first = _open(path)
    parts = int(value_of(first, "split.count") or 1)
    if parts == 1:
        return first
    named = _PART.match(path.name)
    if named is None or int(named["parts"]) != parts or int(named["part"]) != 1:
        raise CheckpointError(
            f"{path} is one part of {parts}: give the first, whose name ends in -00001-of-{parts:05d}.gguf, with the "
            "others beside it; or join them, with llama-gguf-split --merge FIRST_PART JOINED.gguf"
        )
    for part in range(2, parts + 1):
        first.tensors += _open(path.with_name(f"{named['name']}-{part:05d}-of-{parts:05d}.gguf")).tensors
    return first


def _open(path: Path) -> GGUFReader:
    try:
        return GGUFReader(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing: all parts of a GGUF file must lie side by side") from error
    except Exception as error:  # gguf raises whatever the broken bytes lead to
        raise CheckpointError(f"cannot load the checkpoint {path}: it is damaged or no GGUF file ({error})") from error


@contextmanager
def opened_once(reader: GGUFReader) -> Iterator[None]:
    """Lets transformers see a header that is read already, which it would read three times more."""
    with patch.object(gguf, "GGUFReader", lambda *_: reader):
        yield


class GgufTensors:
    """The tensors of a GGUF file, dequantised one at a time, under the names of a model's parameters.

    Args:
        reader: the file's.
        model: without weights.
        path: the file, for messages.

    Raises:
        CheckpointError: the file has a tensor that was not read.
    """

    def __init__(self, reader: GGUFReader, model: PreTrainedModel, path: Path):
        self._names = get_gguf_hf_weights_map(model)
        stored = [tensor for tensor in reader.tensors if tensor.name != _ROPE_FACTORS]
        if surplus := [tensor.name for tensor in stored if tensor.name not in self._names]:
            raise CheckpointError(f"{path} holds tensors that are not read: {', '.join(surplus[:6])}; {INSTEAD}")
        make = TENSOR_PROCESSORS.get(str(value_of(reader, "general.architecture")), TensorProcessor)
        self._processor = make(config=model.config.to_dict())
        self._where = {self._names[tensor.name]: tensor for tensor in stored}
        self.shapes = {name: tuple(int(size) for size in tensor.shape[::-1]) for name, tensor in self._where.items()}

    def read(self, name: str, first: int = 0, end: int | None = None) -> torch.Tensor:
        """See `Tensors.read`."""
        tensor = self._where[name]
        if tensor.name in _READ_BY_ROWS:  # gguf takes several times the memory of what it dequantises
            rows = range(*slice(first, end).indices(len(tensor.data)))
            found = torch.empty(len(rows), self.shapes[name][-1])
            for at in range(0, len(rows), ROWS_AT_ONCE):
                part = tensor.data[rows.start + at : min(rows.start + at + ROWS_AT_ONCE, rows.stop)]
                found[at : at + len(part)] = self._processed(tensor, part)
            return found
        return self._processed(tensor, tensor.data)[first:end]

    def _processed(self, tensor: Any, data: Any) -> torch.Tensor:
        numbers = dequantize(data, tensor.tensor_type)
        made = self._processor.process(
            weights=numbers, name=tensor.name, tensor_key_mapping=self._names, parsed_parameters={}
        )
        return torch.from_numpy(made.weights.copy())


def check_header(reader: GGUFReader, path: Path, model: PreTrainedModel) -> None:
    """Holds a model against the file's header, and applies the rope factors that the file has (Llama 3.1's).

    Raises:
        CheckpointError: the file says something that was not read.
    """
    _check_keys(reader, path, str(value_of(reader, "general.architecture")), model.config)
    factors = next((tensor for tensor in reader.tensors if tensor.name == _ROPE_FACTORS), None)
    if factors is not None:
        _divide_frequencies(model, torch.from_numpy(dequantize(factors.data, factors.tensor_type).copy()), path)


def _check_keys(reader: GGUFReader, path: Path, architecture: str, config: Any) -> None:
    read = GGUF_CONFIG_MAPPING.get(architecture, {})
    for key in reader.fields:
        name = key.removeprefix(f"{architecture}.")
        if name == key or (name in read and read[name] not in (None, -1)):
            continue
        value = value_of(reader, key)
        if name in _MUST_AGREE and getattr(config, _MUST_AGREE[name], value) == value:
            continue
        if (
            name in _HARMLESS
            or reads(architecture, name, value, config)
            or (name == "rope.scaling.type" and value == "none")
            or value == 0
        ):
            continue
        raise CheckpointError(f"{path} says {key} = {value}, which is not read from a GGUF file; {INSTEAD}")


def _divide_frequencies(model: PreTrainedModel, factors: torch.Tensor, path: Path) -> None:
    rotary = getattr(model.get_decoder(), "rotary_emb", None)
    frequencies = getattr(rotary, "inv_freq", None)
    if rotary is None or frequencies is None or frequencies.shape != factors.shape:
        raise CheckpointError(f"{path} holds rope factors that this architecture has no place for; {INSTEAD}")
    rotary.inv_freq = frequencies / factors.to(frequencies.dtype)
    rotary.original_inv_freq = rotary.inv_freq
