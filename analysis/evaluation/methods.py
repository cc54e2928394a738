"""LAGER and its baselines, all special cases of the same layer logits."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lager_onnx.analysis.labels.groups import Rows
from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.models.calibration import Calibration
from lager_onnx.models.method import aggregate, calibrated_score, expected_score, move, softmax, without_noise


@dataclass(frozen=True)
class Method:
    """What one way of reading the layer logits says.

    Attributes:
        name: of the method.
        scores: (records,), in the units of the scale; those that differ by noise alone are equal.
        probabilities: P(s), (records, K).
    """

    name: str
    scores: Array
    probabilities: Array

    def at(self, records: Rows) -> "Method":
        """What it says of some of the records."""
        return Method(self.name, self.scores[records], self.probabilities[records])


def methods(
    data: Labelled, stored: Array, calibration: Calibration | None = None, *, ablations: bool = False
) -> list[Method]:
    """The methods of the paper's tables.

    Args:
        data: layer logits and labels; the labels choose the best single layer only.
        stored: the judge's own layer weights, (2 (L + 1),).
        calibration: the judge's own, if it has one.
        ablations: add {max, expectation} of {logits, probabilities} with {stored, uniform} weights.
    """
    uniform, last = data.uniform(), np.eye(len(data.rows))[-1]
    found = [
        weighted("vanilla", data, last, maximum=True),
        weighted("expectation", data, last),
        weighted("LAGER uniform", data, uniform),
        weighted("LAGER as stored", data, stored),
    ]
    if calibration:
        found.append(as_graded("LAGER calibrated", data, stored, calibration))
    if ablations:
        for weights, which in ((uniform, "uniform"), (stored, "stored")):
            for probabilities in (False, True):
                for maximum in (True, False):
                    if probabilities or maximum:  # the others are LAGER itself
                        what = "probabilities" if probabilities else "logits"
                        name = f"{'max' if maximum else 'expectation'} of {what}, {which}"
                        found.append(weighted(name, data, weights, probabilities=probabilities, maximum=maximum))
    return found


def best_layer(data: Labelled, agreement: Callable[[Array, Array], float]) -> Method:
    """The expectation of the single row that agrees best with these very labels: an oracle, not a method."""
    each = zip(data.rows, np.eye(len(data.rows)), strict=True)
    single = [weighted(f"layer {row.layer}, {row.lens} (oracle)", data, weights) for row, weights in each]
    return max(single, key=lambda method: np.nan_to_num(agreement(method.scores, data.labels), nan=-1))


def as_graded(name: str, data: Labelled, stored: Array, calibration: Calibration | None) -> Method:
    """What the judge itself says, its calibration included."""
    plain = weighted(name, data, stored)
    if calibration is None:
        return plain
    scores = calibrated_score(plain.scores, calibration)
    return Method(name, scores, move(plain.probabilities, data.values, scores))


def weighted(
    name: str, data: Labelled, weights: Array, *, probabilities: bool = False, maximum: bool = False
) -> Method:
    """What the layers say together under some weights, (2 (L + 1),).

    Args:
        name: what to call it.
        data: layer logits.
        weights: of the rows.
        probabilities: add up every row's probabilities, not its logits.
        maximum: the likeliest score, not the expected one.
    """
    p = aggregate(weights, softmax(data.logits)) if probabilities else softmax(aggregate(weights, data.logits))
    scores = data.values[p.argmax(axis=-1)] if maximum else expected_score(p, data.values)
    return Method(name, without_noise(scores, np.ptp(data.values)), p)
