"""Which device a judge runs on."""

import logging
from pathlib import Path

from lager_onnx.models.cure import Cure
from lager_onnx.models.device import Device, gpus_of
from lager_onnx.models.errors import DeviceError
from lager_onnx.models.precisions import Precision
from lager_onnx.runtime.prefill import takes_past
from lager_onnx.runtime.session import open_session, why_no_cuda

logger = logging.getLogger(__name__)


def fitting_device(model: Path, device: Device, precision: Precision, arithmetic: Precision) -> Device:
    """Where a judge runs as it was made to.

    onnxruntime's CUDA provider has the fused attention in 16 bits only. In float32 it leaves it to the CPU, and copies
    all that attention reads and writes: slower than the CPU alone, and not a word of it.
    """
    only_cuda = bool(gpus_of(device))
    reason = None if device == "cpu" else why_no_cuda()
    on_cuda = device != "cpu" and reason is None
    if on_cuda and arithmetic == "fp32" and takes_past(open_session(model, device="cpu", precision=precision).session):
        if only_cuda:
            raise DeviceError(
                "this judge's attention is in float32, which onnxruntime runs on the CPU even with CUDA",
                Cure(
                    command="export the judge with --target cuda, or use --device cpu",
                    python='export the judge with target="cuda", or use device="cpu"',
                ),
            )
        logger.info("running on the CPU: this judge was not exported for CUDA")
        return "cpu"
    if arithmetic != "fp32" and not on_cuda and not only_cuda:
        why = f" ({reason})" if reason else ""
        raise DeviceError(
            f"this judge was exported for CUDA, which does not run here{why}; a CPU has no kernels for it",
            Cure(
                command="export it without --target cuda for --device cpu",
                python='export it without target="cuda" for device="cpu"',
            ),
        )
    return device
