"""What tuning brings with few and with many labels, on responses that it has not seen."""

from collections.abc import Sequence
from statistics import mean
from typing import Final

import numpy as np
from logits import Graded

from lager_onnx.analysis.labels.groups import rows_by_group
from lager_onnx.analysis.labels.labelled import Labelled
from lager_onnx.analysis.tuning.choose import choose, left_out_ranks
from lager_onnx.analysis.tuning.recipes import Fit, recipe
from lager_onnx.models.method import spearman

_SIZES: Final = (50, 200, 1000)
_REPEATS: Final = 5
_FOLDS: Final = 5
RECIPES: Final[dict[str, Fit]] = {
    "uniform": lambda data, _: data.uniform(),
    "choose": lambda data, groups: choose(data, groups).weights,
    "regularised": recipe("regularised", epochs=1),
    "regularised, norm": recipe("regularised", epochs=1, lens="norm"),
    "paper": recipe("paper", epochs=1),
    "paper, 2 epochs": recipe("paper", epochs=2),
}


def learning_curve(graded: Graded) -> dict[str, dict[str, str]]:
    """By the number of labels and the way to weigh rows: mean Spearman over ways to draw (smallest to largest).

    For every fold, weights are learned from some of the labels of the other folds and rank its responses.
    """
    most = len(graded.groups) * (_FOLDS - 1) / _FOLDS
    return {
        str(size): {name: _cell(graded, fit, size) for name, fit in RECIPES.items()} for size in _SIZES if size <= most
    }


def _cell(graded: Graded, fit: Fit, size: int) -> str:
    found = [
        spearman(
            left_out_ranks(graded.labelled, graded.groups, from_few(fit, size, seed), _FOLDS, seed=seed),
            graded.labelled.labels,
        )
        for seed in range(_REPEATS)
    ]
    return f"{mean(found):.3f} ({min(found):.3f} to {max(found):.3f})"


def from_few(fit: Fit, size: int, seed: int) -> Fit:
    """Learns from about `size` of the labels given, in whole groups but for the last one."""

    def learn(data: Labelled, groups: Sequence[str]) -> np.ndarray:
        members = list(rows_by_group(groups).values())
        np.random.default_rng(seed).shuffle(members)
        rows = [row for group in members for row in group][:size]
        return fit(data.at(np.asarray(rows)), [groups[row] for row in rows])

    return learn
