"""The formulas of LAGER, each in one place; docs/method.md explains them.

Shapes: R = 2 (L + 1) rows (the embedding and L layers, raw and normed), K scores; `...` is any number of leading axes,
such as records.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.floating[Any]]
Codes = npt.NDArray[np.intp]


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


def lager_score(layer_weights: Numbers, layer_logits: Numbers, values: Numbers) -> Array:
    """The LAGER score: the expected score of the softmax of the aggregated logits, (...)."""
    return expected_score(softmax(aggregate(layer_weights, layer_logits)), values)


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
