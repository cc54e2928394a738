"""What learning layer weights from human labels minimises; see docs/method.md, section 3.

With layer logits Z (records, rows, K), values s (K,) and labels h (records,):

    w = softmax(v)        z = sum_l w_l Z_l        p = softmax(z)        score = p . s
    loss = mean[alpha * CE(z, nearest score to h) + (1 - alpha) * distance(score, h)] + strength * KL(w | uniform)

Ours are the last term, which draws the weights towards untuned LAGER as much as `strength` says, and a third distance
beside |score - h| and (score - h)^2: "correlation", 1 - Pearson's r of scores and labels. The other two are small where
scores have the labels' mean; a judge that knows little reaches that best by scores that say nothing of the response.
All in float64.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import log_softmax, softmax

from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.models.method import NOISE, aggregate, expected_score

Distance = Literal["mae", "mse", "correlation"]


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
        """Loss and its gradient by v, (rows,)."""
        w: Array = softmax(v)
        z = aggregate(w, data.logits)
        log_p: Array = log_softmax(z, axis=-1)
        p = np.exp(log_p)
        score = expected_score(p, data.values)
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
    """1 - r, the same for every record; 1 where all scores (but for noise) or all labels are the same."""
    of_score, of_label = score - score.mean(), labels - labels.mean()
    spreads = np.sqrt((of_score**2).mean()), np.sqrt((of_label**2).mean())
    if spreads[0] <= NOISE * np.ptp(labels) or not spreads[1]:
        return np.ones_like(score), np.zeros_like(score)
    of_score, of_label = of_score / spreads[0], of_label / spreads[1]
    r = (of_score * of_label).mean()
    return np.full_like(score, 1 - r), (r * of_score - of_label) / spreads[0]


# Distances (records,) and, (records,) times their number, the gradient of the mean distance by the scores.
_DISTANCES: Final = {"mae": _absolute, "mse": _squared, "correlation": _correlation}
