"""Learns the layer weights and the calibration of a judge from labels."""

from lager_onnx.analysis.tuning.calibrate import fit_calibration
from lager_onnx.analysis.tuning.cross_validation import Estimate, estimate
from lager_onnx.analysis.tuning.loss import Loss
from lager_onnx.analysis.tuning.recipes import fit, fit_as_the_paper, fit_regularised, recipe
from lager_onnx.analysis.tuning.tune import Tuned, tune
from lager_onnx.analysis.tuning.write_weights import reweigh

__all__ = [
    "Estimate",
    "Loss",
    "Tuned",
    "estimate",
    "fit",
    "fit_as_the_paper",
    "fit_calibration",
    "fit_regularised",
    "recipe",
    "reweigh",
    "tune",
]
