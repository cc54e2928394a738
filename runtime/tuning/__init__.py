"""Learns the layer weights of a judge from labels."""

from lager_onnx.runtime.tuning.cross_validation import Estimate, estimate
from lager_onnx.runtime.tuning.loss import Loss
from lager_onnx.runtime.tuning.recipes import fit, fit_as_the_paper, fit_regularised, recipe
from lager_onnx.runtime.tuning.write_weights import reweigh

__all__ = ["Estimate", "Loss", "estimate", "fit", "fit_as_the_paper", "fit_regularised", "recipe", "reweigh"]
