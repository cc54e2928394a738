"""What tuning chooses among: a few ways to weigh rows, from none learned to many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.analysis.tuning.recipes import Fit, recipe
from lager_onnx.models.layers import Lens
from lager_onnx.models.method import spearman

UNIFORM: Final = "uniform"
_BAND: Final = 3  # neighbouring layers: one alone is found by chance too easily
_DEPTHS: Final = 8  # to choose from


@dataclass(frozen=True)
class Choice:
    """One way to weigh rows.

    Attributes:
        name: in words.
        fit: weights (2 (L + 1),) from labelled records and their groups.
    """

    name: str
    fit: Fit


def band(lens: Lens) -> Fit:
    """Three neighbouring layers alike, those that agree best with the labels."""
    return _best_of(lens, lambda count: [slice(first, first + _BAND) for first in range(max(1, count - _BAND + 1))])


def up_to(lens: Lens) -> Fit:
    """All layers up to some depth alike, that which agrees best with the labels."""

    def parts(count: int) -> list[slice]:
        ends = {round(count * share / _DEPTHS) for share in range(1, _DEPTHS + 1)}
        return [slice(0, end) for end in sorted(ends - {0})]

    return _best_of(lens, parts)


def _best_of(lens: Lens, parts: Callable[[int], list[slice]]) -> Fit:
    def fit(data: Labelled, _groups: Sequence[str]) -> Array:
        rows = np.flatnonzero(data.uniform(lens))  # from the embedding up
        found, best = data.uniform(lens), -np.inf
        for part in parts(len(rows)):
            weights = np.zeros(len(data.rows))
            weights[rows[part]] = 1 / len(rows[part])
            agreement = spearman(data.scores(weights), data.labels)
            if agreement > best:
                found, best = weights, agreement
        return found

    return fit


CHOICES: Final = (
    Choice(UNIFORM, lambda data, _: data.uniform()),
    Choice("uniform, norm", lambda data, _: data.uniform("norm")),
    Choice("a band of layers", band("raw")),
    Choice("a band of layers, norm", band("norm")),
    Choice("up to a depth", up_to("raw")),
    Choice("up to a depth, norm", up_to("norm")),
    Choice("learned", recipe("regularised", epochs=1, lens="both")),
)
