"""How well scores agree with labels, and how sure one can be of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lager_onnx.analysis.labels.groups import Rows, rows_by_group
from lager_onnx.models.method import codes, pearson, ranks

Array = npt.NDArray[np.float64]

# With n groups there are C(2n - 1, n) different resamples: 3 of two groups, 126 of five, 92,378 of ten. The interval's
# ends are the 25th of a thousand from either side; with fewer than ten groups these are a handful of resamples.
LEAST_GROUPS: Final = 10
_MOST_WITHOUT: Final = 0.05  # of the resamples may have no figure: with more, they could hide both tails


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
    """A figure with its 95% bootstrap interval.

    Attributes:
        value: NaN where the figure does not exist, such as a correlation of scores that are all the same.
        low, high: NaN where there is no interval: fewer than `LEAST_GROUPS` groups, or a figure that many resamples do
            not have.
    """

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Return whether there is an interval; with too few groups there is none, and `low` and `high` are NaN."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "none"
        return (
            f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})" if self.known else f"{self.value:.3f} (no interval)"
        )


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of rows, drawn by whole groups.

    Attributes:
        rows: how many rows there are.
        drawn: row numbers of every resample; a row may come several times. None with fewer than `LEAST_GROUPS` groups.
    """

    rows: int
    drawn: tuple[Rows, ...]

    @classmethod
    def of_groups(cls, groups: Sequence[str], number: int = 1000, *, seed: int = 0) -> "Resamples":
        """Draw `number` resamples; each has as many groups as there are. With too few groups, none is drawn."""
        parts = [np.asarray(part, dtype=np.intp) for part in rows_by_group(groups).values()]
        number = number if len(parts) >= LEAST_GROUPS else 0
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

    @property
    def error(self) -> float:
        """Standard error; NaN without resamples."""
        known = self.drawn[np.isfinite(self.drawn)]
        return float(known.std()) if known.size else float("nan")

    def __sub__(self, other: "Sampled") -> "Sampled":
        return Sampled(self.value - other.value, self.drawn - other.drawn)

    @property
    def interval(self) -> Interval:
        """Percentile interval; NaN without resamples, and where many of them do not have the figure."""
        known = self.drawn[np.isfinite(self.drawn)]
        enough = known.size and known.size >= (1 - _MOST_WITHOUT) * self.drawn.size and np.isfinite(self.value)
        low, high = np.percentile(known, [2.5, 97.5]) if enough else (np.nan, np.nan)
        return Interval(self.value, float(low), float(high))
