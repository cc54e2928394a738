"""Opens a judge with the engine that fits it."""

from pathlib import Path

from lager_onnx.models.device import Device, gpus_of
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import GRAPH_FILE, JudgeSpec
from lager_onnx.runtime.cores import usable_cores
from lager_onnx.runtime.device import fitting_device
from lager_onnx.runtime.engines.base import Engine
from lager_onnx.runtime.engines.batches import BatchEngine
from lager_onnx.runtime.engines.cpu import CoreEngine
from lager_onnx.runtime.gpu_memory import gpu_batch_tokens
from lager_onnx.runtime.memory import choose_packing
from lager_onnx.runtime.prefill import takes_past
from lager_onnx.runtime.session import graph_errors, open_session


def open_engine(
    model: Path,
    *,
    device: Device,
    threads: int | None,
    precision: Precision = "fp32",
    arithmetic: Precision = "fp32",
    max_memory: int | None = None,
) -> Engine:
    """Opens a judge's graph with the engine that fits it; see `open_session` and, for `max_memory`, `choose_packing`.

    Args:
        model: the file `model.onnx`.
        device: "auto" takes CUDA for a judge that was made for it; several GPUs share the prompts.
        threads: cores to use; None for all that this process may use.
        precision: of the judge.
        arithmetic: what its products are in, of `JudgeSpec`.
        max_memory: bytes that the process may hold of its own.

    Raises:
        DeviceError: CUDA was asked for and cannot run, or not this judge; or the judge is for CUDA only; or products in
            8 bits are not exact here.
        JudgeFolderError: onnxruntime cannot read the graph.
    """
    device = fitting_device(model, device, precision, arithmetic)
    cores = threads or usable_cores()
    packing = choose_packing(model, precision, max_memory)
    gpus = gpus_of(device)
    where: Device = "cuda" if gpus else device
    opened, *others = [
        open_session(model, device=where, threads=cores, weights=packing.at_first, precision=precision, gpu=gpu)
        for gpu in gpus or (0,)
    ]
    if opened.provider == "CPUExecutionProvider" and takes_past(opened.session):
        with graph_errors(model):
            return CoreEngine(opened.session, model, cores, precision=precision, packing=packing)
    sessions = [opened.session, *(other.session for other in others)]
    if opened.provider == "CPUExecutionProvider":
        return BatchEngine(sessions, opened.provider)
    fits = min(gpu_batch_tokens(model, gpu) for gpu in gpus or (0,))
    return BatchEngine(sessions, opened.provider, batch_tokens=fits)


def open_judge_engine(
    folder: Path, spec: JudgeSpec, *, device: Device, threads: int | None, max_memory: int | None
) -> Engine:
    """`open_engine` for the judge in a folder, as its spec says."""
    return open_engine(
        folder / GRAPH_FILE,
        device=device,
        threads=threads,
        precision=spec.precision,
        arithmetic=spec.arithmetic,
        max_memory=max_memory,
    )
