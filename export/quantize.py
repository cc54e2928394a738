"""A float32 judge becomes one in 8 or 4 bits."""

import logging
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from lager_onnx.export.calibration import Array, Calibration, calibration_prompts
from lager_onnx.export.checkpoint import Checkpoint
from lager_onnx.export.passes.products_8bit import Products8BitPass
from lager_onnx.export.passes.rotate import RotatePass
from lager_onnx.export.passes.simplify import remove_unused
from lager_onnx.export.passes.smooth import SmoothPass
from lager_onnx.export.passes.split_norm import SplitNormPass
from lager_onnx.export.passes.spread import SpreadPass
from lager_onnx.export.passes.weight_blocks import EmbeddingBlocksPass, WeightBlocksPass
from lager_onnx.models.spec import JudgeSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reference:
    """What the float32 judge says of text that was not calibrated on: token ids, and scores (prompts,)."""

    prompts: list[list[int]]
    scores: Array


def quantize(graph: ir.Model, spec: JudgeSpec, judge: Checkpoint, folder: Path) -> Reference:
    """Quantises a fused float32 graph in place, as the judge's precision says.

    Args:
        graph: as `rewrite` leaves it.
        spec: what the judge is; its precision is int8 or int4.
        judge: the checkpoint, for its tokeniser.
        folder: for a copy of the float32 graph; made if it is not there.
    """
    rotated = RotatePass()(graph).modified
    if not rotated:
        logger.info("    this decoder's stream cannot be rotated: every row of activations gets its own scale")
    text = calibration_prompts(spec, judge.backend)
    if spec.precision == "int8":
        SmoothPass(Calibration(graph, folder, text).inputs)(graph)
        SpreadPass()(graph)
    calibration = Calibration(graph, folder, text)
    prompts = calibration_prompts(spec, judge.backend, to_compare=True)
    reference = Reference(prompts, calibration.scores(prompts))
    if spec.precision == "int8":
        Products8BitPass(calibration.inputs, rotated=rotated)(graph)
    else:
        WeightBlocksPass(calibration.inputs)(graph)
    ir.passes.Sequential(EmbeddingBlocksPass(), SplitNormPass(), remove_unused())(graph)
    return reference
