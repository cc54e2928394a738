"""onnxruntime sessions: providers, threads, options, and what a device error says."""

import ctypes
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from lager_onnx.models.cure import Cure
from lager_onnx.models.device import Device
from lager_onnx.models.errors import DeviceError, GradingError, JudgeFolderError, LagerError
from lager_onnx.models.graph import ATTENTION_MASK, INPUT_IDS, OUTPUTS, SCORE_TOKENS
from lager_onnx.models.precisions import Precision
from lager_onnx.runtime.exact_products import make_products_exact
from lager_onnx.runtime.files import shown

logger = logging.getLogger(__name__)

Found = dict[str, npt.NDArray[np.float32]]
Weights = Literal["mapped", "widened", "packed"]

_WIDENING: Final = "ConstantFolding;FuseFp16InitializerToFp32NodeTransformer"
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_PROVIDER_OPTIONS: Final[dict[str, dict[str, str]]] = {
    _CPU: {},
    _CUDA: {
        "arena_extend_strategy": "kSameAsRequested",  # batches grow slowly; doubling would hold memory never used
        "use_tf32": "0",  # a float32 judge is faithful; the fast ones are fp16 and bf16
        "sdpa_kernel": "1",  # flash attention: another kernel would make a plan for every new shape
        # The fused norm of residual sums has given zeros and NaN for large sums in its default mode.
        "enable_skip_layer_norm_strict_mode": "1",
    },
}
_OUT_OF_MEMORY: Final = re.compile("bad_alloc|alloc\\w* .*memory|out of memory|memory .*alloc", re.IGNORECASE)
_MEMORY_IS_SHORT: Final = Cure(
    command="memory is short, lower --batch-tokens", python="memory is short, lower batch_tokens"
)
_PADDING = 0  # any id does: no real token attends to what stands on its right


@dataclass(frozen=True)
class OpenSession:
    """A session and the provider that really runs it."""

    session: onnxruntime.InferenceSession
    provider: str


def open_session(
    model: Path,
    *,
    device: Device = "auto",
    threads: int | None = None,
    weights: Weights = "mapped",
    precision: Precision = "fp32",
    gpu: int = 0,
) -> OpenSession:
    """Opens a judge's graph.

    Args:
        model: the file `model.onnx`.
        device: "cpu"; "cuda", which fails with the reason when CUDA cannot run; or "auto", which takes CUDA
            where it runs and otherwise the CPU, and logs the reason.
        threads: intra-op threads; None for one a physical core.
        weights: "mapped" uses them as they lie in the mapped file, those of 16 bits widened one at a time in every
            run; "widened" widens these once, in memory; "packed" copies all into the order in which the CPU's matrix
            products read them. For many prompts that pays: 10% more tokens a second, for 0.4 s and 0.5 GB at the start
            (SmolLM2-135M in float32).
        precision: of the judge. On the CPU, products in 8 bits are proven exact first.
        gpu: which one, where there are several.

    Raises:
        DeviceError: CUDA was asked for and cannot run, or products in 8 bits are not exact here.
        JudgeFolderError: onnxruntime cannot read the graph.
    """
    if device != "cpu":
        reason = why_no_cuda()
        if reason is None:
            opened = _open(model, _CUDA, threads, weights=weights, gpu=gpu)
            if opened.provider == _CUDA:
                return opened
            reason = "onnxruntime could not start its CUDA provider on this machine; its own message stands above"
        if device == "cuda":
            raise DeviceError(
                f"CUDA cannot run: {reason}",
                Cure(command="use --device cpu, or mend it", python='use device="cpu", or mend it'),
            )
        # Whoever installed the CPU build knows; a CUDA build that does not run is worth a word.
        quiet = _CUDA not in onnxruntime.get_available_providers()
        logger.log(logging.DEBUG if quiet else logging.WARNING, "running on the CPU: %s", reason)
    return _open(model, _CPU, threads, weights=weights, precision=precision)


def run_graph(session: onnxruntime.InferenceSession, prompts: list[list[int]]) -> Found:
    """Grades one batch of prompts, given as token ids; pads them on the right. See `run_batch`."""
    return run_batch(session, pad_batch(prompts))


def pad_batch(prompts: Sequence[list[int]]) -> dict[str, npt.NDArray[np.int64]]:
    """What a judge reads that does not read packed batches: `input_ids` and `attention_mask`, (prompts, longest)."""
    shape = (len(prompts), max(map(len, prompts)))
    input_ids, attention_mask = np.full(shape, _PADDING, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, prompt in enumerate(prompts):
        input_ids[row, : len(prompt)] = prompt
        attention_mask[row, : len(prompt)] = 1
    return {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask}


def run_batch(session: onnxruntime.InferenceSession, batch: Mapping[str, npt.NDArray[Any]]) -> Found:
    """Grades a batch as it is laid out for the graph.

    Returns:
        The graph's outputs by name: `score` (batch,), `probabilities` and `logits` (batch, K),
        `layer_logits` (batch, 2 (L + 1), K), all float32.

    Raises:
        GradingError: onnxruntime could not run the batch.
    """
    binding = session.io_binding()
    for name in OUTPUTS:
        binding.bind_output(name, "cpu")
    rows, tokens = batch[INPUT_IDS].shape
    with grading_errors(len(batch.get(SCORE_TOKENS, range(rows))), tokens):
        for name, array in batch.items():  # bound, they go to the session's device once, however many nodes read them
            binding.bind_cpu_input(name, array)
        session.run_with_iobinding(binding)
        outputs = binding.copy_outputs_to_cpu()
    return dict(zip(OUTPUTS, outputs, strict=True))


@contextmanager
def graph_errors(model: Path) -> Iterator[None]:
    """Says of a graph that cannot be opened which it is; onnxruntime raises whatever its bytes lead to."""
    try:
        yield
    except LagerError:
        raise
    except Exception as error:
        raise JudgeFolderError(f"onnxruntime cannot open {shown(model)}: {error}") from error


@contextmanager
def grading_errors(prompts: int, tokens: int) -> Iterator[None]:
    """Says of onnxruntime's failures what could not be graded."""
    try:
        yield
    except (ort_errors.Fail, ort_errors.EPFail, ort_errors.RuntimeException, ort_errors.InvalidArgument,
            ort_errors.NotImplemented, RuntimeError, ValueError) as error:  # fmt: skip
        reason = str(error)
        raise GradingError(
            f"onnxruntime could not grade a batch of {prompts} prompts of {tokens} tokens ({reason})",
            _MEMORY_IS_SHORT if _OUT_OF_MEMORY.search(reason) else None,
        ) from error


def session_options(threads: int | None, *, weights: Weights, provider: str = _CPU) -> onnxruntime.SessionOptions:
    """How sessions are opened; see `open_session`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    # Threads that wait for their session's next run would slow down the session that runs on their cores meanwhile.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if provider == _CUDA:
        # A plan of memory lies beside the arena, twice what a batch needs; and nodes run in the file's order, which
        # gathers a layer's row when it is there (`export/lower/early_rows.py`).
        options.enable_mem_pattern = False
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    elif weights != "packed":
        options.add_session_config_entry("session.disable_prepacking", "1")
    if weights == "mapped" and provider == _CPU:
        # They would widen all weights of 16 bits when the session is opened.
        options.add_session_config_entry("optimization.disable_specified_optimizers", _WIDENING)
    # Errors are raised, and say more there; of a CUDA provider that does not start, only the log tells. It warns of
    # nodes that it leaves to the CPU, even if they compute shapes, as those of all judges do: for who asks.
    on_cuda = 2 if logger.isEnabledFor(logging.INFO) else 3
    options.log_severity_level = 4 if provider == _CPU else on_cuda
    return options


def _open(
    model: Path, provider: str, threads: int | None, *, weights: Weights, precision: Precision = "fp32", gpu: int = 0
) -> OpenSession:
    options = session_options(threads, weights=weights, provider=provider)
    if precision == "int8":
        make_products_exact(options)
    fallback = {"enable_fallback": provider != _CPU}  # to the CPU; on the CPU it would only print
    with graph_errors(model):
        chosen = [(provider, provider_options(provider, gpu))]
        session = onnxruntime.InferenceSession(model, options, providers=chosen, **fallback)
    return OpenSession(session, session.get_providers()[0])


def provider_options(provider: str, gpu: int = 0) -> dict[str, str]:
    """How a provider is opened, on which GPU; onnxruntime (1.31) warns where the first one is named."""
    return _PROVIDER_OPTIONS[provider] | ({"device_id": str(gpu)} if gpu else {})


def why_no_cuda() -> str | None:
    """Why CUDA cannot run on this machine; None where nothing speaks against it."""
    if _CUDA not in onnxruntime.get_available_providers():
        return (
            f"this onnxruntime {onnxruntime.__version__} was built without CUDA (pip uninstall onnxruntime, "
            "then pip install 'lager-onnx[gpu]')"
        )
    library = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    if os.name == "posix" and library.exists():
        onnxruntime.preload_dlls()
        try:
            ctypes.CDLL(str(library.with_name("libonnxruntime_providers_shared.so")), mode=ctypes.RTLD_GLOBAL)
            ctypes.CDLL(str(library))
        except OSError as error:
            return f"its CUDA libraries cannot be loaded ({error})"
    return None
