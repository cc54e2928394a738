"""A float32 judge becomes an 8-bit one."""

import logging
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from lager_onnx.export.calibration import Array, Calibration, calibration_prompts
from lager_onnx.export.checkpoint import Checkpoint
from lager_onnx.export.passes.quantize import QuantizePass
from lager_onnx.export.passes.rotate import RotatePass
from lager_onnx.export.passes.simplify import remove_unused
from lager_onnx.models.spec import JudgeSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reference:
    """What the float32 judge says of text that was not calibrated on: token ids, and scores (prompts,)."""

    prompts: list[list[int]]
    scores: Array


def quantize(graph: ir.Model, spec: JudgeSpec, judge: Checkpoint, folder: Path) -> Reference:
    """Quantises a fused float32 graph in place.

    Args:
        graph: as `rewrite` leaves it.
        spec: what the judge is.
        judge: the checkpoint, for its tokeniser.
        folder: a folder to make, for a copy of the float32 graph.
    """
    rotated = RotatePass()(graph).modified
    if not rotated:
        logger.info("    this decoder's stream cannot be rotated: every row of activations gets its own scale")
    calibration = Calibration(graph, folder, calibration_prompts(spec, judge.backend))
    prompts = calibration_prompts(spec, judge.backend, to_compare=True)
    reference = Reference(prompts, calibration.scores(prompts))
    ir.passes.Sequential(QuantizePass(calibration.moments, rotated=rotated), remove_unused())(graph)
    return reference
