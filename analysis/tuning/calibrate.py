"""Learns what people would say where a judge gives a score."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, eye, hstack

from lager_onnx.analysis.labels.labelled import Array
from lager_onnx.models.calibration import Calibration

_GROUPS_A_CORNER: Final = 40  # of labels, for each corner beyond the first two
_MOST_CORNERS: Final = 8
# Of a unit of the labels' range, in labels: what one group's word weighs against a constant.
_PULL: Final = 3.0
_STEADY: Final = 1e-3  # part of the scores as they are, so that the line rises everywhere and ranks stay


def fit_calibration(
    scores: Array, labels: Array, groups: Sequence[str], values: Array, *, origin: str = ""
) -> Calibration:
    """The rising line with corners that misses labels least, in absolute error.

    With a few labels it is straight, with many it has more corners, at quantiles of the scores; the fewer groups there
    are, the more it is drawn to a constant, which is then the labels' median:

        least over y of mean |y(score) - label| + pull / groups * (y(highest) - y(lowest)),  y rising

    A linear programme.

    Args:
        scores: (records,).
        labels: (records,), on the same scale.
        groups: of every record.
        values: of the scale, (K,).
        origin: what to write into it.
    """
    lowest, highest = float(values.min()), float(values.max())
    number = len(set(groups))
    count = min(_MOST_CORNERS, 2 + number // _GROUPS_A_CORNER)
    corners = np.unique(np.quantile(scores, np.linspace(0, 1, count)))
    if len(corners) < 2:
        corners = np.array([lowest, highest])
    levels = _fit(scores, labels, corners, lowest, highest, _PULL / number)
    # Outside of what was seen, straight on as far as the scale goes.
    xs = np.array([lowest, *corners, highest])
    slopes = np.diff(levels) / np.diff(corners)
    first = max(lowest, levels[0] - slopes[0] * (corners[0] - lowest))
    last = min(highest, levels[-1] + slopes[-1] * (highest - corners[-1]))
    ys = np.array([first, *levels, last])
    xs, kept = np.unique(xs, return_index=True)
    ys = (1 - _STEADY) * ys[kept] + _STEADY * xs
    return Calibration(tuple(xs.tolist()), tuple(ys.tolist()), origin)


def _fit(scores: Array, labels: Array, corners: Array, lowest: float, highest: float, pull: float) -> Array:
    """Levels at the corners: their first one, and the steps up from one to the next, by least absolute error."""
    records, steps = len(scores), len(corners) - 1
    widths = np.diff(corners)
    shares = np.clip((scores[:, None] - corners[:-1]) / widths, 0, 1)  # of each step, (records, steps)
    line = csr_matrix(np.hstack([np.ones((records, 1)), shares]))
    costs = np.concatenate([[0], np.full(steps, pull), np.full(2 * records, 1 / records)])
    equations = hstack([line, eye(records), -eye(records)], format="csr")  # line + over - under = label
    top = csr_matrix(np.concatenate([np.ones(1 + steps), np.zeros(2 * records)])[None])
    bounds = [(lowest, highest), *[(0, None)] * (steps + 2 * records)]
    found = linprog(costs, A_ub=top, b_ub=[highest], A_eq=equations, b_eq=labels, bounds=bounds, method="highs")
    levels: Array = np.cumsum(found.x[: 1 + steps])
    return np.clip(levels, lowest, highest)
