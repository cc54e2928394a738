"""What this machine can run, and which judge to export for it."""

import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import onnxruntime

from lager_onnx.runtime.cores import usable_cores
from lager_onnx.runtime.exact_products import wrong_sum
from lager_onnx.runtime.memory import free_memory
from lager_onnx.runtime.session import session_options, why_no_cuda

_CPUINFO: Final = Path("/proc/cpuinfo")
# As Linux calls them; what quick products need, on x86 and on ARM64.
_SETS: Final = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "sve",
    "bf16",
)
_QUICK_BYTES: Final = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})


@dataclass(frozen=True)
class Machine:
    """What was found.

    Attributes:
        cores: that this process may use.
        instruction_sets: of the processor, those that matter here; () where the system does not tell.
        free: bytes of memory that can still be taken.
        exact: whether 8-bit products are exact by themselves; otherwise a session option makes them so.
        gpus: name, memory and driver of each, as nvidia-smi says.
        why_no_cuda: None where CUDA runs.
    """

    cores: int
    instruction_sets: tuple[str, ...]
    free: int
    exact: bool
    gpus: tuple[str, ...]
    why_no_cuda: str | None

    @classmethod
    def examine(cls) -> "Machine":
        """Looks at this machine."""
        return cls(
            cores=usable_cores(),
            instruction_sets=_instruction_sets(),
            free=free_memory(),
            exact=wrong_sum(session_options(1, weights="mapped")) is None,
            gpus=_gpus(),
            why_no_cuda=why_no_cuda(),
        )

    @property
    def advice(self) -> str:
        """How to export for this machine."""
        if self.why_no_cuda is None and self.gpus:
            return "lager export ... --target cuda: bf16, on the GPU"
        if _QUICK_BYTES & set(self.instruction_sets):
            return "lager export ... --precision int8: more than twice as fast as float32 here"
        if self.instruction_sets:
            return "lager export ... --precision int8: somewhat faster than float32 here, a quarter of its size"
        return "lager export ... --precision int8, and compare with fp32 by lager bench"

    def lines(self) -> Iterator[tuple[str, str]]:
        """What there is to say, by what it is about."""
        yield "lager-onnx", f"{version('lager-onnx')}, Python {platform.python_version()}, {platform.platform()}"
        yield "onnxruntime", f"{onnxruntime.__version__}: {', '.join(onnxruntime.get_available_providers())}"
        yield "cores", f"{self.cores} that this process may use"
        yield "processor", ", ".join(self.instruction_sets) or "its instruction sets are not known here"
        yield "8-bit products", "exact" if self.exact else "made exact by a session option, for 10% of the time"
        yield "memory", f"{self.free / 1e9:.1f} GB free"
        yield "GPU", "; ".join(self.gpus) or "none that nvidia-smi knows"
        yield (
            "CUDA",
            "runs judges exported with --target cuda" if self.why_no_cuda is None else f"no: {self.why_no_cuda}",
        )
        yield "all others", "run on the CPU: attention in float32 is there only"
        yield "export with", self.advice


def _instruction_sets() -> tuple[str, ...]:
    try:
        lines = _CPUINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:  # macOS, Windows
        return ()
    named = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
    return tuple(name for name in _SETS if named and name in named[0])


def _gpus() -> tuple[str, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    asked = [program, "--query-gpu=name,memory.free,memory.total,driver_version", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    return tuple(said.stdout.splitlines()) if said.returncode == 0 else ()
