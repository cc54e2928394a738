"""Judges for CUDA on a CPU: all but the kernels of the GPU is what runs there."""

import shutil
from pathlib import Path

import onnx_ir as ir
import onnxruntime

from lager_onnx.export.lower.paged_attention import PagedAttentionPass
from lager_onnx.export.passes.run import run_passes
from lager_onnx.export.verify.emulate import load_for_cpu
from lager_onnx.export.verify.unpaged import UnpagedAttentionPass
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.engines.batches import BatchEngine
from lager_onnx.runtime.session import open_session


def packed_session(judge: Path, folder: Path) -> onnxruntime.InferenceSession:
    """A judge in float32 that reads packed batches."""
    # Other tests hard-link the files of a judge that all share, and onnx_ir opens none that has links.
    model = ir.load(shutil.copytree(judge, folder / "copied") / "model.onnx")
    run_passes(model, PagedAttentionPass(), UnpagedAttentionPass())
    return _open(model, folder)


def emulated_session(judge: Path, folder: Path) -> onnxruntime.InferenceSession:
    """A judge that was exported with `--target cuda`."""
    return _open(load_for_cpu(judge, JudgeSpec.load(judge)), folder)


def packed_engine(judge: Path, folder: Path, **options: int) -> BatchEngine:
    """What grades with `packed_session`."""
    return BatchEngine([packed_session(judge, folder)], "CPUExecutionProvider", **options)


def _open(model: ir.Model, folder: Path) -> onnxruntime.InferenceSession:
    folder.mkdir(exist_ok=True)
    ir.save(model, folder / "model.onnx", external_data="model.onnx_data")
    return open_session(folder / "model.onnx", device="cpu").session
