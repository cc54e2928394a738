"""The last steps before a judge is written: how it stores weights, what it multiplies in, which kernels compute it."""

from collections.abc import Mapping

import onnx_ir as ir

from lager_onnx.export.lower.early_rows import EarlyRowsPass
from lager_onnx.export.lower.gelu import FuseGeluPass
from lager_onnx.export.lower.half_arithmetic import HalfArithmeticPass
from lager_onnx.export.lower.paged_attention import PagedAttentionPass
from lager_onnx.export.lower.silu import FuseSiluPass
from lager_onnx.export.lower.skip_norm import FuseSkipNormPass
from lager_onnx.export.lower.weight_precision import DTYPES, WeightPrecisionPass
from lager_onnx.export.lower.widen_late import WidenLatePass
from lager_onnx.export.passes.run import run_passes
from lager_onnx.export.passes.simplify import remove_unused
from lager_onnx.models.precisions import PRECISIONS
from lager_onnx.models.spec import JudgeSpec


def lower(graph: ir.Model, spec: JudgeSpec, largest: Mapping[str, float] | None = None) -> None:
    """Makes a float32 graph, or one whose products are rounded to few bits, what its spec says, in place.

    On the CPU (onnxruntime 1.32), the fused norm of a residual sum takes 82 µs for 128 rows of 576, sum and norm apart
    15 and 19. Where products are quick, in 8 bits, that is 4% of all; a judge in float32 has fewer nodes with it.
    CUDA's is quick.

    Args:
        graph: the judge's.
        spec: what it is to be.
        largest: see `HalfArithmeticPass`.
    """
    for_cuda = spec.arithmetic != "fp32"
    run_passes(graph, FuseSiluPass(), remove_unused())
    if for_cuda:
        run_passes(graph, FuseGeluPass(), remove_unused(), HalfArithmeticPass(DTYPES[spec.arithmetic], largest))
    run_passes(graph, remove_unused(), WeightPrecisionPass(spec.precision))
    if for_cuda or "fuse sums" in PRECISIONS[spec.precision].steps:
        run_passes(graph, FuseSkipNormPass())
    run_passes(graph, remove_unused(), WidenLatePass())
    if for_cuda:
        run_passes(graph, PagedAttentionPass(), EarlyRowsPass())
