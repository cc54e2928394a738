"""Memory: how much is free, how much this process holds, and whether a judge's weights may be copied into it."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import DeviceError
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import CONFIG_FILE, WEIGHTS_FILE
from lager_onnx.runtime.session import Weights

logger = logging.getLogger(__name__)

GIGABYTE: Final = 10**9
# Of the memory that is free, so much may be taken by copies of weights, unless the user says how much there is.
_SHARE: Final = 0.4
_BASE: Final = 400 * 10**6  # bytes of Python, onnxruntime, the tokeniser, and a KV cache of some thousand tokens
# Bytes of a packed weight, in those of a stored one: 16 bits are widened.
_PACKED: Final[dict[Precision, float]] = {"fp32": 1.0, "fp16": 2.0, "bf16": 2.0, "int8": 1.0, "int4": 1.0}
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Held:
    """Bytes that this process holds: of its own (anonymous), and of files that it has mapped, which are only cached."""

    anonymous: int
    mapped: int


def held() -> Held | None:
    """What this process holds; None where the system does not tell the two apart (macOS, Windows)."""
    info = psutil.Process().memory_info()
    shared = getattr(info, "shared", None)
    return None if shared is None else Held(info.rss - shared, shared)


def free_memory() -> int:
    """Bytes that this process can still take: of the machine, or of the container that it runs in."""
    free = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or none with a limit
        return free
    return min(free, max(0, limit - used))


@dataclass(frozen=True)
class Packing:
    """Whether weights are copied into the order in which products read them, or stay in the mapped file.

    Attributes:
        packed: they are copied.
        every_core: into two sessions: one that runs a prompt on all cores, and one that runs a prompt on each.
        spare: bytes that are left for the KV cache of texts that are written.
    """

    packed: bool
    every_core: bool
    spare: int

    @property
    def at_first(self) -> Weights:
        """How a session is opened before it is known that packing pays."""
        return "widened" if self.packed else "mapped"


PLENTY: Final = Packing(packed=True, every_core=True, spare=GIGABYTE)


def choose_packing(model: Path, precision: Precision, max_memory: int | None = None) -> Packing:
    """What fits into the memory that there is.

    Args:
        model: the judge's graph; its weights and config.json stand beside it.
        precision: of the judge.
        max_memory: bytes that the process may hold of its own; by default, copies may take 40% of what is free.

    Raises:
        DeviceError: not even without copies is `max_memory` enough.
    """
    weights = model.with_name(WEIGHTS_FILE)
    copy = (weights.stat().st_size if weights.exists() else 0) * _PACKED[precision]
    if max_memory is None:
        allowed = _SHARE * free_memory()
    else:
        needed = _BASE + _largest_product(model.with_name(CONFIG_FILE))
        if needed > max_memory:
            raise DeviceError(
                f"{max_memory / GIGABYTE:.1f} GB of memory are too little for this judge: it needs "
                f"{needed / GIGABYTE:.1f} GB",
                Cure(command="raise --max-memory", python="raise max_memory"),
            )
        allowed = max_memory - needed
    copies = min(2, int(allowed // copy)) if copy else 2
    packing = Packing(packed=copies > 0, every_core=copies > 1, spare=int(allowed - copies * copy))
    if not packing.every_core:
        logger.log(
            logging.INFO if packing.packed else logging.WARNING,
            "memory is short for two copies of this judge's weights, %.1f GB each (%.1f GB may be used): %s",
            copy / GIGABYTE, allowed / GIGABYTE,
            "one prompt at a time, on all cores" if packing.packed else "they stay in the mapped file, which is slower",
        )  # fmt: skip
    return packing


def _largest_product(config: Path) -> int:
    """Bytes of one product at work: a chunk's rows on both sides, and the weight, widened."""
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        hidden, inner = int(content["hidden_size"]), int(content["intermediate_size"])
    except (OSError, ValueError, KeyError, TypeError):  # a judge without it grades all the same
        return 0
    return 4 * (hidden * inner + CHUNK_FROM_FILE * (6 * hidden + 4 * inner))


# Tokens that run at once where weights stay in the file: many, since each run reads and widens all of them.
CHUNK_FROM_FILE: Final = 1024


def parse_memory(text: str) -> int:
    """Bytes of a size such as 8GB, 8GiB or 500MB.

    Raises:
        ValueError: it is none.
    """
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
    number = text.strip().upper()
    unit = next((unit for unit in units if number.endswith(unit)), "")
    return int(float(number.removesuffix(unit)) * units.get(unit, 1))
