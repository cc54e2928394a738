"""What a judge says of one response."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lager_onnx.models.method import expected_score, softmax
from lager_onnx.models.scale import Scale

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Grade:
    """A graded response.

    Attributes:
        score: LAGER score, a float between the lowest and the highest value of the scale.
        distribution: P(s) over the K scores in the order of the scale, (K,) float32.
        layer_logits: score-token logits, (2 (L + 1), K) float32: layers 0 (embedding) to L raw, then 0 to L behind the
            final norm.
        scale: the scale.
        tokens: tokens of the prompt.
    """

    score: float
    distribution: Array
    layer_logits: Array
    scale: Scale
    tokens: int

    @property
    def probabilities(self) -> dict[str, float]:
        """P(s) by label."""
        return dict(zip(self.scale.labels, self.distribution.tolist(), strict=True))

    @property
    def vanilla(self) -> float:
        """VScore: value of the label that the last layer finds most likely."""
        return self.scale.values[int(self.layer_logits[-1].argmax())]

    @cached_property
    def expectation(self) -> float:
        """E-Score: expected value under the last layer alone."""
        return float(expected_score(softmax(self.layer_logits[-1]), np.asarray(self.scale.values)))
