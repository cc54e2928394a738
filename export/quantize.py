"""A float32 judge becomes one in 16, 8 or 4 bits."""

import logging
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir

from lager_onnx.export.calibration import Calibration
from lager_onnx.export.passes.half_arithmetic import HalfArithmeticPass
from lager_onnx.export.passes.products_8bit import Products8BitPass
from lager_onnx.export.passes.rotate import RotatePass
from lager_onnx.export.passes.run import run_passes
from lager_onnx.export.passes.simplify import remove_unused
from lager_onnx.export.passes.smooth import SmoothPass
from lager_onnx.export.passes.split_norm import SplitNormPass
from lager_onnx.export.passes.spread import SpreadPass
from lager_onnx.export.passes.weight_blocks import EmbeddingBlocksPass, WeightBlocksPass
from lager_onnx.export.passes.weight_precision import DTYPES, WeightPrecisionPass
from lager_onnx.export.verify.products import Product, products_of
from lager_onnx.models.spec import JudgeSpec

logger = logging.getLogger(__name__)


def narrow(graph: ir.Model, spec: JudgeSpec) -> None:
    """Stores a float32 graph's weights in 16 bits, in place; multiplies in 16 bits where the judge is one for CUDA."""
    passes = [HalfArithmeticPass(DTYPES[spec.precision])] if spec.arithmetic != "fp32" else []
    run_passes(graph, *passes, remove_unused(), WeightPrecisionPass(spec.precision))


def quantize(
    graph: ir.Model,
    spec: JudgeSpec,
    text: list[list[int]],
    folder: Path,
    check: Callable[[Calibration], None] | None = None,
) -> list[Product]:
    """Quantises a float32 graph in place, as the judge's precision says.

    Args:
        graph: as `rewrite` leaves it.
        spec: what the judge is; its precision is int8 or int4.
        text: prompts to calibrate on, as token ids.
        folder: for a copy of the float32 graph; made if it is not there.
        check: is given the judge whose weights are prepared and not yet rounded, and may refuse it.

    Returns:
        The products that were rounded, with their float32 weights.
    """
    rotated = RotatePass()(graph).modified
    if not rotated:
        logger.info("    this decoder's stream cannot be rotated: every row of activations gets its own scale")
    if spec.precision == "int8":
        SmoothPass(Calibration(graph, folder, text).inputs)(graph)
        SpreadPass()(graph)
    calibration, products = Calibration(graph, folder, text), products_of(graph.graph)
    if check is not None:
        check(calibration)
    if spec.precision == "int8":
        Products8BitPass(calibration.inputs, rotated=rotated)(graph)
    else:
        WeightBlocksPass(calibration.inputs)(graph)
    run_passes(graph, EmbeddingBlocksPass(), SplitNormPass(), remove_unused())
    return products
