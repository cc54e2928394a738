"""How well scores agree with labels, and how sure one can be of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lager_onnx.runtime.folds import rows_by_group

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


def kendall(scores: Array, labels: Array) -> float:
    """Tau-b, which counts ties; NaN where all scores or all labels are the same."""
    return float(stats.kendalltau(scores, labels).statistic) if np.ptp(scores) and np.ptp(labels) else float("nan")


def weighted_kappa(scores: Array, labels: Array, values: Array) -> float:
    """Cohen's kappa with quadratic weights, of scores and labels rounded to the values of the scale, (K,).

    1 - sum of (difference of values)^2 over pairs as observed / the same as if scores and labels were independent.
    """
    rounded, people = (values[np.abs(values - given[:, None]).argmin(axis=-1)] for given in (scores, labels))
    observed = ((rounded - people) ** 2).mean()
    by_chance = (rounded**2).mean() + (people**2).mean() - 2 * rounded.mean() * people.mean()
    return float(1 - observed / by_chance) if by_chance else float("nan")


def calibration_error(probabilities: Array, labels: Array, values: Array, *, bins: int = 10) -> float:
    """Expected calibration error: how far the likeliest score's probability is from how often it is right.

    Mean over bins of equal width, weighted by their records, of |mean confidence - share right|. A label between two
    values counts as the nearest.
    """
    confidence = probabilities.max(axis=-1)
    right = probabilities.argmax(axis=-1) == np.abs(values - labels[:, None]).argmin(axis=-1)
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    sums = [np.bincount(which, weights=given, minlength=bins) for given in (confidence, right)]
    return float(np.abs(sums[0] - sums[1]).sum() / len(labels))


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
    rows = [np.asarray(part, dtype=np.intp) for part in rows_by_group(groups).values()]
    random = np.random.default_rng(seed)
    drawn = [
        figure(np.concatenate([rows[pick] for pick in random.integers(0, len(rows), len(rows))]))
        for _ in range(resamples)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return Interval(figure(np.arange(len(groups))), float(low), float(high))
