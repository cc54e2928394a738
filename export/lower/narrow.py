"""A float32 judge becomes one in 16 bits."""

from collections.abc import Mapping

import onnx_ir as ir

from lager_onnx.export.lower.early_rows import EarlyRowsPass
from lager_onnx.export.lower.gelu import FuseGeluPass
from lager_onnx.export.lower.half_arithmetic import HalfArithmeticPass
from lager_onnx.export.lower.kernels import choose_kernels
from lager_onnx.export.lower.paged_attention import PagedAttentionPass
from lager_onnx.export.lower.silu import FuseSiluPass
from lager_onnx.export.lower.weight_precision import DTYPES, WeightPrecisionPass
from lager_onnx.export.passes.run import run_passes
from lager_onnx.export.passes.simplify import remove_unused
from lager_onnx.models.spec import JudgeSpec


def narrow(graph: ir.Model, spec: JudgeSpec, largest: Mapping[str, float] | None = None) -> None:
    """Stores a float32 graph's weights in 16 bits, in place; multiplies in 16 bits where the judge is one for CUDA.

    Args:
        graph: the judge's.
        spec: what it is to be.
        largest: see `HalfArithmeticPass`.
    """
    for_cuda = spec.arithmetic != "fp32"
    half = [FuseSiluPass(), FuseGeluPass(), remove_unused(), HalfArithmeticPass(DTYPES[spec.precision], largest)]
    passes = half if for_cuda else []
    run_passes(graph, *passes, remove_unused(), WeightPrecisionPass(spec.precision))
    choose_kernels(graph, spec)
    if for_cuda:
        run_passes(graph, PagedAttentionPass(), EarlyRowsPass())
