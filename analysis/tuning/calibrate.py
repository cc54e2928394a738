"""Learns what people would say where a judge gives a score."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, eye, hstack

from lager_onnx.analysis.evaluation.metrics import LEAST_GROUPS
from lager_onnx.analysis.labels.groups import Rows, group_folds, rows_by_group
from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.analysis.tuning.learned import Learned
from lager_onnx.models.calibration import Calibration

_GROUPS_A_CORNER: Final = 40  # of labels, for each corner beyond the first two
_MOST_CORNERS: Final = 8
# Of a unit of the labels' range, in labels: what one group's word weighs against a constant.
_PULL: Final = 3.0
_FOLDS: Final = 5
_SURE: Final = 2.0  # standard errors by which a line must do better than a constant
_STEADY: Final = 1e-3  # part of a line through the whole scale, so that every calibration rises and ranks stay
_INSIDE: Final = 0.05  # of the scale: how far from its ends that line passes the middle of the scores


def calibrated(learned: Learned, data: Labelled, groups: Sequence[str]) -> Learned:
    """With a calibration of the scores under the weights that were learned.

    Whether it is better than the labels' median is found out on groups that neither it nor the weights have seen.
    """
    scores, fit = data.scores(learned.weights), learned.fit

    def learned_from(train: Rows) -> Array:
        return data.scores(fit(data.at(train), [groups[row] for row in train])) if fit else scores

    calibration = fit_calibration(scores, data.labels, groups, data.values, learned_from=learned_from)
    return replace(learned, calibration=calibration)


def fit_calibration(
    scores: Array,
    labels: Array,
    groups: Sequence[str],
    values: Array,
    *,
    learned_from: Callable[[Rows], Array] | None = None,
    origin: str = "",
) -> Calibration:
    """The rising line with corners that misses labels least, in absolute error; or, but for a trace, their median.

    The median it is unless a line misses less on groups that it has not seen, by two standard errors at least, of
    `LEAST_GROUPS` groups at least.

    Args:
        scores: (records,).
        labels: (records,), on the same scale.
        groups: of every record.
        values: of the scale, (K,).
        learned_from: where weights were learned from the same labels, all records' scores, (records,), under those
            learned from some of them.
        origin: what to write into it.
    """
    lowest, highest = float(values.min()), float(values.max())
    if _beats_median(learned_from or (lambda _: scores), labels, groups, lowest, highest):
        xs, ys = _line(scores, labels, groups, lowest, highest)
    else:
        xs, ys = np.array([lowest, highest]), np.full(2, np.median(labels))
    corners, levels = _rising(xs, ys, float(np.median(scores)))
    return Calibration(tuple(corners.tolist()), tuple(levels.tolist()), origin)


def _beats_median(
    learned_from: Callable[[Rows], Array], labels: Array, groups: Sequence[str], lowest: float, highest: float
) -> bool:
    members = rows_by_group(groups)
    if len(members) < LEAST_GROUPS:
        return False
    gained = np.empty(len(labels))
    for train, test in group_folds(groups, _FOLDS):
        scores = learned_from(train)
        xs, ys = _line(scores[train], labels[train], [groups[row] for row in train], lowest, highest)
        missed = np.abs(np.interp(scores[test], xs, ys) - labels[test])
        gained[test] = np.abs(np.median(labels[train]) - labels[test]) - missed
    apart = np.array([(gained[rows] - gained.mean()).sum() for rows in members.values()])
    return bool(gained.mean() > _SURE * np.sqrt((apart**2).sum()) / len(gained))


def _rising(xs: Array, ys: Array, middle: float) -> tuple[Array, Array]:
    """Corners and levels with a trace of a line that rises through the whole scale and meets this one at `middle`."""
    lowest, highest = xs[0], xs[-1]
    corners = np.unique([lowest, middle, *xs])
    levels = np.interp(corners, xs, ys)
    inside = _INSIDE * (highest - lowest)
    meets = np.clip(np.interp(middle, xs, ys), lowest + inside, highest - inside)
    through = (lowest, middle, highest) if lowest < middle < highest else (lowest, highest)
    steady = np.interp(corners, through, (lowest, meets, highest) if len(through) == 3 else through)
    return corners, (1 - _STEADY) * levels + _STEADY * steady


def _line(scores: Array, labels: Array, groups: Sequence[str], lowest: float, highest: float) -> tuple[Array, Array]:
    """Corners and levels of the line.

    With a few labels it is straight, with many it has more corners, at quantiles of the scores; the fewer groups there
    are, the more it is drawn to a constant, which is then the labels' median:

        least over y of mean |y(score) - label| + pull / groups * (y(highest) - y(lowest)),  y rising

    A linear programme.
    """
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
    xs, kept = np.unique(xs, return_index=True)
    return xs, np.array([first, *levels, last])[kept]


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
