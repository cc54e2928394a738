"""What a judge says of one response."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from lager_onnx.models.method import confidence, expected_score, softmax
from lager_onnx.models.scale import Scale

Array = npt.NDArray[np.float32]


_LONGEST: Final = 24  # characters of a text in a grade's one line


def _short(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


@dataclass(frozen=True)
class Feedback:
    """What a judge has written.

    Attributes:
        text: up to the answer prefix, or to the last sentence if that names the grade.
        ended: at the answer prefix, at an end token, or at the limit.
        named: the label of the grade that the judge gave itself: behind the prefix, or at the end of its text.
        tokens: how many were written.
    """

    text: str
    ended: Literal["prefix", "end", "limit"]
    named: str | None
    tokens: int


@dataclass(frozen=True, repr=False)
class Grade:
    """A graded response.

    Attributes:
        score: LAGER score, a float between the lowest and the highest value of the scale.
        distribution: P(s) over the n scores in the order of the scale, (n,) float32.
        layer_logits: score-token logits, (2 (L + 1), K) float32: layers 0 (embedding) to L raw, then 0 to L behind the
            final norm.
        scale: the scale that was asked for: the judge's own, or the first n of its K scores.
        tokens: tokens of the prompt.
        choices: what the scores stand for, where one of several answers was asked for.
        feedback: what the judge wrote before, where it was asked to: one, or several whose grades this is the mean of.
    """

    score: float
    distribution: Array
    layer_logits: Array
    scale: Scale
    tokens: int
    choices: tuple[str, ...] = ()
    feedback: tuple[Feedback, ...] = ()

    def __repr__(self) -> str:
        """One short line; what is left out is in the attributes."""
        said = f"choice={_short(self.choice)}, confidence={self.confidence:.2f}" if self.choice is not None else ""
        shown = ", ".join(f"{_short(label)}: {share:.2f}" for label, share in self.probabilities.items())
        written = f", feedback={_short(self.feedback[0].text)}" if self.feedback else ""
        return f"Grade({said or f'score={self.score:.3f}'}, probabilities={{{shown}}}, tokens={self.tokens}{written})"

    @property
    def probabilities(self) -> dict[str, float]:
        """P(s) by label, or by choice."""
        return dict(zip(self.choices or self.scale.labels, self.distribution.tolist(), strict=True))

    @property
    def choice(self) -> str | None:
        """The likeliest choice; None where a score was asked for."""
        return self.choices[int(self.distribution.argmax())] if self.choices else None

    @property
    def confidence(self) -> float:
        """From 0, where all scores or choices are equally likely, to 1, where one is certain."""
        return confidence(self.distribution)

    @property
    def normalized(self) -> float:
        """The score from 0, the lowest of the scale, to 1, the highest."""
        return (self.score - min(self.scale.values)) / self.scale.width

    @property
    def _last_layer(self) -> Array:
        return self.layer_logits[-1, : len(self.distribution)]

    @property
    def vanilla(self) -> float:
        """VScore: value of the label that the last layer finds most likely."""
        return self.scale.values[int(self._last_layer.argmax())]

    @cached_property
    def expectation(self) -> float:
        """E-Score: expected value under the last layer alone."""
        return float(expected_score(softmax(self._last_layer), np.asarray(self.scale.values)))
