"""Whether disk and memory suffice for an export, before it starts."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lager_onnx.export.sources.source import Source
from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import ExportError
from lager_onnx.models.precisions import Precision
from lager_onnx.runtime.memory import GIGABYTE, free_memory

# Bytes of a stored number of the layers, and of the embedding.
_STORED: Final[dict[Precision, tuple[float, float]]] = {
    "fp32": (4, 4), "fp16": (2, 2), "bf16": (2, 2), "int8": (1.01, 1.125), "int4": (0.625, 1.125)
}  # fmt: skip
_BASE: Final = 1.1 * 10**9  # bytes of Python with PyTorch, transformers, optimum and onnxruntime
_COMPARED: Final = 10  # prompts of which PyTorch computes the logits of every layer, for the whole vocabulary
_TOKENS: Final = 12_000  # of the built-in prompts that go through the layers together, about
_SPARE: Final = 1.1  # arrays that are made and dropped again


@dataclass(frozen=True)
class Room:
    """Bytes that an export needs: of disk for the judge, and of memory of its own at its peak."""

    disk: int
    memory: int


def room_needed(source: Source, precision: Precision) -> Room:
    """What an export takes.

    Memory is that of one layer in float32 with what is computed of it, or that of the embedding or the unembedding,
    which PyTorch reads whole, with the logits of every layer for a few prompts.
    """
    vocabulary, hidden = source.embedding
    body = [shape for shape in source.shapes.values() if vocabulary not in shape]
    of_body, of_embedding = _STORED[precision]
    positions = int(source.config.max_position_embeddings)
    weights, tokens = sum(map(math.prod, body)), vocabulary * hidden
    disk = of_body * weights + of_embedding * tokens + 8 * positions * 64 + 10**7
    layers = int(source.config.num_hidden_layers)
    layer, largest = weights // layers, max(map(math.prod, body), default=0)
    channels = max((size for shape in body for size in shape), default=0)
    carried, logits = _TOKENS * 4 * hidden, 2 * 4 * _COMPARED * layers * vocabulary
    if precision == "fp32":
        working = max(4 * tokens + logits, 8 * largest)
    elif precision in ("fp16", "bf16"):
        working = max(6 * tokens + logits, 4 * layer + 3 * carried)
    else:
        rounding = channels**2 + 3 * largest + 3 * hidden**2
        working = max(4 * tokens + logits, 4 * layer + 4 * rounding + 3 * carried)
    return Room(int(disk), int(_BASE + _SPARE * working))


def check_room(room: Room, folder: Path, max_memory: int | None) -> None:
    """Compares what an export needs with what is there.

    Args:
        room: what it needs.
        folder: where the judge will stand; an existing parent's disk counts.
        max_memory: bytes of memory that the process may hold of its own; by default, what is free.

    Raises:
        ExportError: disk or memory do not suffice; says what is needed and what is there.
    """
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if room.disk > free:
        raise ExportError(
            f"the judge needs {_gigabytes(room.disk)} in {place}, {_gigabytes(free)} are free: make room, or export "
            "it into another folder, or with fewer bits"
        )
    memory = free_memory() if max_memory is None else max_memory
    if room.memory > memory:
        needed = f"this export needs {_gigabytes(room.memory)} of memory"
        if max_memory is None:
            raise ExportError(f"{needed}, {_gigabytes(memory)} are free: close other programs, or use a larger machine")
        raise ExportError(
            f"{needed}, {_gigabytes(memory)} are allowed",
            Cure(command="raise --max-memory", python="raise max_memory"),
        )


def _gigabytes(size: int) -> str:
    return f"{size / GIGABYTE:.1f} GB"
