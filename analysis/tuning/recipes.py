"""Learns one weight a layer, in two ways: converged and regularised, and as the paper does."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.analysis.tuning.loss import Distance, Loss
from lager_onnx.models.layers import Lens

Recipe = Literal["regularised", "paper"]  # how weights are learned; what `choose` chooses among is in choices.py
Fit = Callable[[Labelled, Sequence[str]], Array]

# As much as so many groups of records know. Found on newsroom, vicuna_eval and EQ-Bench; see docs/alignment.md.
_PULL: Final = 100.0
# Of the paper's code: Adam with batches of 4 and v at 0 but for the last layer, one epoch.
_RATE: Final = 0.01
_BATCH: Final = 4
_SEED: Final = 42
_BETAS: Final = (0.9, 0.999)
_EPSILON: Final = 1e-8


def recipe(name: Recipe, *, epochs: int, lens: Lens | Literal["both"] = "raw", **options: Any) -> Fit:
    """How weights (2 (L + 1),) are learned from labelled records and their groups.

    Args:
        name: "regularised" or "paper".
        epochs: passes over the labels, in the paper's recipe.
        lens: under which layers get weight; or under both.
        options: `alpha` and `distance` of the loss where they are not to be the recipe's own.
    """

    def learn(data: Labelled, groups: Sequence[str]) -> Array:
        rows = np.arange(len(data.rows)) if lens == "both" else np.flatnonzero(data.uniform(lens))
        weights = np.zeros(len(data.rows))
        if name == "paper":
            weights[rows] = fit_as_the_paper(data.of_rows(rows), epochs=epochs, **options)
        else:
            weights[rows] = fit_regularised(data.of_rows(rows), groups, **options)
        return weights

    return learn


def fit(data: Labelled, loss: Loss) -> Array:
    """Weights (rows,) that minimise the loss: L-BFGS from uniform weights, deterministic."""
    found = minimize(loss, np.zeros(data.logits.shape[1]), args=(data,), jac=True, method="L-BFGS-B")
    weights: Array = softmax(found.x)
    return weights


def fit_regularised(
    data: Labelled, groups: Sequence[str], *, alpha: float = 0.0, distance: Distance = "correlation"
) -> Array:
    """Weights (rows,) drawn to uniform ones the more, the fewer groups of records there are to learn from."""
    return fit(data, Loss(alpha, distance, _PULL / len(set(groups))))


def fit_as_the_paper(data: Labelled, *, alpha: float = 0.622, distance: Distance = "mse", epochs: int = 1) -> Array:
    """Weights (rows,) by the paper's recipe: Adam, rate 0.01, batches of 4, v at 0 but for the last layer at 1."""
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
