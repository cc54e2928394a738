"""Gives a judge other layer weights and a calibration; its large weights are not written again."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from lager_onnx.analysis.tuning.calibration_graph import set_calibration
from lager_onnx.models.calibration import Calibration
from lager_onnx.models.learned_from import LearnedFrom
from lager_onnx.models.spec import CARD_FILE, GRAPH_FILE, SPEC_FILE, JudgeSpec
from lager_onnx.runtime.folder import read_spec
from lager_onnx.runtime.graph_file import write_spec
from lager_onnx.runtime.new_folder import link_or_copy, new_folder

_REWRITTEN = (GRAPH_FILE, SPEC_FILE, CARD_FILE)


def reweigh(
    judge_dir: Path,
    weights: Sequence[float],
    origin: str,
    *,
    calibration: Calibration | None = None,
    learned_from: LearnedFrom | None = None,
    target: Path | None = None,
    overwrite: bool = False,
) -> JudgeSpec:
    """Writes a judge with other layer weights, in place or beside the old one; what calibrated the old ones goes.

    All files but the graph, `judge.json` and the card are hard links to the old ones, or copies where the file system
    has no links.

    Args:
        judge_dir: the judge.
        weights: 2 (L + 1) numbers.
        origin: how they came about, for `judge.json`.
        calibration: of the scores under these weights, if any.
        learned_from: the records that both were learned from, if any.
        target: folder to write; the judge's own by default.
        overwrite: replace a judge at `target`.

    Raises:
        JudgeFolderError: no judge, or one whose graph holds no layer weights.
        OutputError: `target` exists already.
    """
    spec = read_spec(judge_dir)
    calibrated = calibration is not None or spec.calibration is not None
    same = target is None or target.resolve() == judge_dir.resolve()
    with new_folder(target or judge_dir, overwrite=overwrite or same) as folder:
        for file in judge_dir.iterdir():
            if file.is_file() and file.name not in _REWRITTEN:
                link_or_copy(file, folder / file.name)
        spec = replace(
            spec,
            layer_weights=tuple(float(weight) for weight in np.asarray(weights, dtype=np.float32)),
            weights_origin=origin,
            calibration=calibration,
            learned_from=learned_from,
        )
        if calibrated:
            model = ir.load(judge_dir / GRAPH_FILE)
            set_calibration(model, calibration, spec.scale.values)
            ir.save(model, folder / GRAPH_FILE)
        else:
            shutil.copyfile(judge_dir / GRAPH_FILE, folder / GRAPH_FILE)
        unchanged = {name: sum_ for name, sum_ in spec.checksums.items() if name != GRAPH_FILE}
        return write_spec(folder, spec, known=unchanged)
