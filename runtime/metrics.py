"""How well scores agree with labels, and how sure one can be of it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
Metric = Callable[[Array, Array], float]


def spearman(scores: Array, labels: Array) -> float:
    """Correlation of ranks; NaN where all scores or all labels are the same."""
    return float(stats.spearmanr(scores, labels).statistic) if np.ptp(scores) and np.ptp(labels) else float("nan")


def pearson(scores: Array, labels: Array) -> float:
    """Linear correlation; NaN where all scores or all labels are the same."""
    return float(stats.pearsonr(scores, labels).statistic) if np.ptp(scores) and np.ptp(labels) else float("nan")


def mean_absolute_error(scores: Array, labels: Array) -> float:
    """In units of the scale."""
    return float(np.abs(scores - labels).mean())


METRICS: dict[str, Metric] = {"Spearman": spearman, "Pearson": pearson, "mean absolute error": mean_absolute_error}


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def bootstrap(
    figure: Callable[[npt.NDArray[np.intp]], float], groups: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Percentile interval of a figure of some rows, resampling whole groups.

    Args:
        figure: computes it from row numbers; rows may come several times. Resamples where it is NaN are left out.
        groups: of every row.
        resamples: how many.
        seed: of the resampling; with the same seed and groups, the same rows are drawn.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[group].append(row)
    rows, random = [np.asarray(part, dtype=np.intp) for part in members.values()], np.random.default_rng(seed)
    drawn = [
        figure(np.concatenate([rows[pick] for pick in random.integers(0, len(rows), len(rows))]))
        for _ in range(resamples)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return Interval(figure(np.arange(len(groups))), float(low), float(high))
