"""Learns the L + 1 layer weights from human labels (METHOD section 3).

With layer logits Z (records, L + 1, K), values s (K,) and labels h (records,):

    w = softmax(v)        z = sum_l w_l Z_l        p = softmax(z)        score = p . s
    loss = mean[alpha * CE(z, nearest score to h) + (1 - alpha) * distance(score, h)] + strength * KL(w | uniform)

Ours are the last term, which draws the weights towards untuned LAGER as much as `strength` says, and a third distance
beside |score - h| and (score - h)^2: "correlation", 1 - Pearson's r of scores and labels. The other two are small where
scores have the labels' mean; a judge that knows little reaches that best by scores that say nothing of the response.
All in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from lager_onnx.models.errors import LabelError

Array = npt.NDArray[np.float64]
Distance = Literal["mae", "mse", "correlation"]
Recipe = Literal["regularised", "paper"]

# As much as so many groups of records know. Found on newsroom, vicuna_eval and EQ-Bench; see docs/alignment.md.
_PULL: Final = 50.0
# Of the paper's code: Adam with batches of 4 and v at 0 but for the last layer, one epoch.
_RATE: Final = 0.01
_BATCH: Final = 4
_SEED: Final = 42
_BETAS: Final = (0.9, 0.999)
_EPSILON: Final = 1e-8


@dataclass(frozen=True)
class Labelled:
    """Layer logits of a judge, and what people said.

    Attributes:
        logits: (records, L + 1, K).
        labels: (records,), in the units of the scale.
        values: (K,) of the scale.
    """

    logits: Array
    labels: Array
    values: Array

    def __post_init__(self) -> None:
        lowest, highest = self.values.min(), self.values.max()
        if not np.isfinite(self.labels).all() or self.labels.min() < lowest or self.labels.max() > highest:
            raise LabelError(f"labels must be numbers from {lowest:g} to {highest:g}, as the judge's scale")

    def at(self, rows: npt.NDArray[np.integer]) -> "Labelled":
        """Some of the records."""
        return Labelled(self.logits[rows], self.labels[rows], self.values)

    def scores(self, weights: Array) -> Array:
        """LAGER scores under other layer weights, (records,)."""
        probabilities: Array = softmax(np.einsum("l,nlk->nk", weights, self.logits), axis=-1)
        return probabilities @ self.values


@dataclass(frozen=True)
class Loss:
    """The loss above.

    Attributes:
        alpha: share of the cross entropy.
        distance: of the score from the label.
        strength: of the pull towards uniform weights.
    """

    alpha: float = 0.0
    distance: Distance = "correlation"
    strength: float = 0.0

    def __call__(self, v: Array, data: Labelled) -> tuple[float, Array]:
        """Loss and its gradient by v, (L + 1,)."""
        w: Array = softmax(v)
        z = np.einsum("l,nlk->nk", w, data.logits)
        log_p: Array = log_softmax(z, axis=-1)
        p = np.exp(log_p)
        score = p @ data.values
        nearest = np.abs(data.values - data.labels[:, None]).argmin(axis=-1)
        target = np.eye(len(data.values))[nearest]
        distance, slope = _DISTANCES[self.distance](score, data.labels)
        loss = self.alpha * -(target * log_p).sum(axis=-1) + (1 - self.alpha) * distance
        by_z = self.alpha * (p - target) + (1 - self.alpha) * slope[:, None] * p * (data.values - score[:, None])
        by_w = np.einsum("nk,nlk->l", by_z, data.logits) / len(data.labels)
        log_ratio = log_softmax(v) + np.log(len(v))  # log(w / uniform)
        by_w += self.strength * (log_ratio + 1)
        return float(loss.mean() + self.strength * (w @ log_ratio)), w * (by_w - w @ by_w)


def _absolute(score: Array, labels: Array) -> tuple[Array, Array]:
    return np.abs(score - labels), np.sign(score - labels)


def _squared(score: Array, labels: Array) -> tuple[Array, Array]:
    return (score - labels) ** 2, 2 * (score - labels)


def _correlation(score: Array, labels: Array) -> tuple[Array, Array]:
    """1 - r, the same for every record; 1 where all scores or all labels are the same."""
    of_score, of_label = score - score.mean(), labels - labels.mean()
    spreads = np.sqrt((of_score**2).mean()), np.sqrt((of_label**2).mean())
    if not all(spreads):
        return np.ones_like(score), np.zeros_like(score)
    of_score, of_label = of_score / spreads[0], of_label / spreads[1]
    r = (of_score * of_label).mean()
    return np.full_like(score, 1 - r), (r * of_score - of_label) / spreads[0]


# Distances (records,) and, (records,) times their number, the gradient of the mean distance by the scores.
_DISTANCES: Final = {"mae": _absolute, "mse": _squared, "correlation": _correlation}


def fit(data: Labelled, loss: Loss) -> Array:
    """Weights (L + 1,) that minimise the loss: L-BFGS from uniform weights, deterministic."""
    found = minimize(loss, np.zeros(data.logits.shape[1]), args=(data,), jac=True, method="L-BFGS-B")
    weights: Array = softmax(found.x)
    return weights


def fit_regularised(
    data: Labelled, groups: Sequence[str], *, alpha: float = 0.0, distance: Distance = "correlation"
) -> Array:
    """Weights (L + 1,) drawn to uniform ones the more, the fewer groups of records there are to learn from."""
    return fit(data, Loss(alpha, distance, _PULL / len(set(groups))))


def fit_as_the_paper(data: Labelled, *, alpha: float = 0.622, distance: Distance = "mse", epochs: int = 1) -> Array:
    """Weights (L + 1,) by the paper's recipe: Adam, rate 0.01, batches of 4, v at 0 but for the last layer at 1."""
    loss, random = Loss(alpha=alpha, distance=distance), np.random.default_rng(_SEED)
    v = np.zeros(data.logits.shape[1])
    v[-1] = 1.0
    mean, square, step = np.zeros_like(v), np.zeros_like(v), 0
    for _ in range(epochs):
        order = random.permutation(len(data.labels))
        for first in range(0, len(order), _BATCH):
            step += 1
            _, gradient = loss(v, data.at(order[first : first + _BATCH]))
            mean = _BETAS[0] * mean + (1 - _BETAS[0]) * gradient
            square = _BETAS[1] * square + (1 - _BETAS[1]) * gradient**2
            unbiased = mean / (1 - _BETAS[0] ** step), square / (1 - _BETAS[1] ** step)
            v = v - _RATE * unbiased[0] / (np.sqrt(unbiased[1]) + _EPSILON)
    weights: Array = softmax(v)
    return weights
