"""The formulas of LAGER, each in one place; docs/method.md explains them.

Shapes: R = 2 (L + 1) rows (the embedding and L layers, raw and normed), K scores; `...` is any number of leading axes,
such as records.
"""

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lager_onnx.models.calibration import Calibration

Array = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.floating[Any]]
Codes = npt.NDArray[np.intp]


# Of the scale's width: scores that differ by less are the same. Measured is a quarter of it at most: 2.4e-6 in float32
# and 1.0e-6 in int8, for SmolLM2-135M, between one core and two and between packed and unpacked weights.
NOISE: Final = 1e-5


def softmax(logits: Numbers) -> Array:
    """exp(z) / sum exp(z) along the last axis, in float64."""
    shifted = np.asarray(logits, dtype=np.float64)
    exponentials = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    found: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return found


def aggregate(layer_weights: Numbers, layer_logits: Numbers) -> Array:
    """Sum over l of w(l) z(l): weights (R,) and layer logits (..., R, K) to logits (..., K)."""
    found: Array = np.einsum("l,...lk->...k", layer_weights, layer_logits, dtype=np.float64)
    return found


def expected_score(probabilities: Numbers, values: Numbers) -> Array:
    """Sum over s of s P(s): probabilities (..., K) and the values (K,) of the scale to scores (...)."""
    found: Array = np.asarray(probabilities, dtype=np.float64) @ np.asarray(values, dtype=np.float64)
    return found


def confidence(probabilities: Numbers) -> float:
    """(n max P - 1) / (n - 1) of probabilities (n,): 0 where all are alike, 1 where one is certain, or alone."""
    count = len(probabilities)
    return float((count * np.max(probabilities) - 1) / (count - 1)) if count > 1 else 1.0


def lager_score(layer_weights: Numbers, layer_logits: Numbers, values: Numbers) -> Array:
    """The LAGER score: the expected score of the softmax of the aggregated logits, (...)."""
    return expected_score(softmax(aggregate(layer_weights, layer_logits)), values)


def calibrated_score(scores: Numbers, corners: Calibration) -> Array:
    """What people would say where a judge gives these scores, (...)."""
    found: Array = np.interp(np.asarray(scores, np.float64), corners.scores, corners.labels)
    return found


def move(probabilities: Numbers, values: Numbers, targets: Numbers) -> Array:
    """Distributions (n, K) over values (K,), moved so that their expected values become `targets` (n,).

    As a whole, and drawn together where it would leave the scale: with m = sum of p v, target c and
    k = min(1, (max - c) / (max - m), (c - min) / (m - min)), the probability of v goes to c + k (v - m), shared between
    the two values round it so that the expected value is kept.
    """
    order = np.argsort(values)
    v, p = np.asarray(values, np.float64)[order], np.asarray(probabilities, np.float64)[:, order]
    m, c = p @ v, np.asarray(targets, np.float64)
    tiny = np.finfo(np.float32).eps
    room = np.minimum((v[-1] - c) / np.maximum(v[-1] - m, tiny), (c - v[0]) / np.maximum(m - v[0], tiny))
    places = c[:, None] + np.minimum(room, 1)[:, None] * (v - m[:, None])  # (n, K)
    left, right = np.append(v[0] - 1, v[:-1]), np.append(v[1:], v[-1] + 1)
    up, down = (places[..., None] - left) / (v - left), (right - places[..., None]) / (right - v)
    moved = np.einsum("nk,nkj->nj", p, np.maximum(np.minimum(up, down), 0))
    found: Array = np.empty_like(moved)
    found[:, order] = moved
    return found


def without_noise(scores: Numbers, width: float) -> Array:
    """Return scores (n,) of which those that differ by noise alone are equal: ties, in ranks and correlations.

    In their order, a score belongs to the one before it where they differ by less than `NOISE` of the scale's width,
    and all that belong together become their lowest. A chain that is wider than this is cut into pieces that are not,
    so that many scores, close to one another, do not become one.

    Args:
        scores: in the units of the scale.
        width: of the scale, from its lowest to its highest value.
    """
    given = np.asarray(scores, np.float64)
    order = np.argsort(given, kind="stable")
    ordered, most = given[order], NOISE * width
    begins = np.diff(ordered, prepend=-np.inf) > most
    bounds = np.append(np.flatnonzero(begins), len(ordered))
    for start, end in pairwise(bounds.tolist()):
        while ordered[end - 1] - ordered[start] > most:
            start += int(np.searchsorted(ordered[start:end], ordered[start] + most, side="right"))  # noqa: PLW2901
            begins[start] = True
    found = np.empty_like(given)
    found[order] = ordered[begins][np.cumsum(begins) - 1]
    return found


def pearson(one: Numbers, other: Numbers) -> float:
    """Linear correlation of two (n,); NaN where either holds the same number throughout."""
    # Not NumPy's corrcoef: a bootstrap calls this thousands of times, and most of what that takes is for matrices.
    if not (np.ptp(one) and np.ptp(other)):
        return float("nan")
    of_one, of_other = one - one.mean(), other - other.mean()
    return float(of_one @ of_other / np.sqrt((of_one @ of_one) * (of_other @ of_other)))


def codes(values: Numbers) -> Codes:
    """Values as numbers from 0 in their order, equal ones alike: (n,) to (n,)."""
    found: Codes = np.unique(values, return_inverse=True)[1]
    return found


def ranks(of_codes: Codes) -> Array:
    """Ranks from 1 of `codes`, or of some of them; equal ones share the mean of theirs."""
    # Not scipy.stats.rankdata: importing scipy.stats takes as long as all the rest of a second `lager tune`.
    counts = np.bincount(of_codes)
    found: Array = np.cumsum(counts) - (counts - 1) / 2
    return found[of_codes]


def spearman(one: Numbers, other: Numbers) -> float:
    """Correlation of the ranks of two (n,), ties counted; NaN where either holds the same number throughout."""
    return pearson(ranks(codes(one)), ranks(codes(other)))
