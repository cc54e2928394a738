"""How well scores agree with labels, and how sure one can be of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lager_onnx.analysis.labels.groups import Rows, rows_by_group
from lager_onnx.models.method import codes, pearson, ranks

Array = npt.NDArray[np.float64]


def spearman_of_rows(scores: Array, labels: Array) -> Callable[[Rows], float]:
    """Spearman as a function of rows, for resamples: values are sorted once, and then only counted."""
    of_scores, of_labels = codes(scores), codes(labels)
    return lambda rows: pearson(ranks(of_scores[rows]), ranks(of_labels[rows]))


def mean_absolute_error(scores: Array, labels: Array) -> float:
    """In units of the scale."""
    return float(np.abs(scores - labels).mean())


def kendall(scores: Array, labels: Array) -> float:
    """Tau-b, which counts ties; NaN where all scores or all labels are the same."""
    from scipy.stats import kendalltau  # noqa: PLC0415, which takes as long to import as all else

    return float(kendalltau(scores, labels).statistic) if np.ptp(scores) and np.ptp(labels) else float("nan")


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


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of rows, drawn by whole groups.

    Attributes:
        rows: how many rows there are.
        drawn: row numbers of every resample; a row may come several times.
    """

    rows: int
    drawn: tuple[Rows, ...]

    @classmethod
    def of_groups(cls, groups: Sequence[str], number: int = 1000, *, seed: int = 0) -> "Resamples":
        """Draws `number` resamples; each has as many groups as there are."""
        parts = [np.asarray(part, dtype=np.intp) for part in rows_by_group(groups).values()]
        random = np.random.default_rng(seed)
        picks = (random.integers(0, len(parts), len(parts)) for _ in range(number))
        return cls(len(groups), tuple(np.concatenate([parts[pick] for pick in picked]) for picked in picks))

    def sample(self, figure: Callable[[Rows], float]) -> "Sampled":
        """A figure of some rows, computed of all and of every resample."""
        return Sampled(figure(np.arange(self.rows)), np.array([figure(rows) for rows in self.drawn]))


@dataclass(frozen=True)
class Sampled:
    """A figure and what it is on every resample, so that two figures can be compared on the same ones.

    Attributes:
        value: on all rows.
        drawn: on every resample; NaN where it does not exist.
    """

    value: float
    drawn: Array

    def __sub__(self, other: "Sampled") -> "Sampled":
        return Sampled(self.value - other.value, self.drawn - other.drawn)

    @property
    def interval(self) -> Interval:
        """Percentile interval. Resamples where the figure is NaN are left out."""
        known = self.drawn[np.isfinite(self.drawn)]
        low, high = np.percentile(known, [2.5, 97.5]) if known.size else (np.nan, np.nan)
        return Interval(self.value, float(low), float(high))
