"""What decision protocols have in common: yes or no, one of some choices, or a level, asked of one text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lager_onnx.models.method import confidence
from lager_onnx.runtime.grade import Grade
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.service import Service

NO_YES: Final = ("no", "yes")


@dataclass(frozen=True)
class Asked:
    """A question about a text.

    Attributes:
        field: of the request, for messages.
        question: what is asked.
        answers: texts of the choices or levels, in order.
        levels: they are levels, from the lowest to the highest.
    """

    field: str
    question: str
    answers: Sequence[str]
    levels: bool = False

    def record(self, text: str) -> dict[str, Any]:
        """The record that a judge grades."""
        return {"text": text, "question": self.question, "levels" if self.levels else "choices": list(self.answers)}


@dataclass(frozen=True)
class Answered:
    """What a judge answers: the probability of every answer, and the tokens that it read."""

    probabilities: tuple[float, ...]
    tokens: int = 0

    @property
    def likeliest(self) -> int:
        """Number of the likeliest answer, from 0."""
        return self.probabilities.index(max(self.probabilities))

    @property
    def level(self) -> float:
        """Sum over i of i p(i), from 0."""
        return sum(number * probability for number, probability in enumerate(self.probabilities))

    @property
    def confidence(self) -> float:
        """From 0, where all answers are equally likely, to 1, where one is certain."""
        return confidence(np.asarray(self.probabilities))


async def ask(service: Service, text: str, questions: Sequence[Asked]) -> list[Answered]:
    """Asks a judge; a question with a single answer needs none.

    Raises:
        RequestError: more answers than the judge has tokens for, twice the same, or a text that it cannot read.
    """
    for each in questions:
        if len(each.answers) > service.most_answers:
            raise RequestError(
                f"{each.field}: {len(each.answers)} answers, this judge tells {service.most_answers} apart at most",
                field=each.field,
            )
        if len(set(each.answers)) < len(each.answers) or not all(each.answers):
            raise RequestError(f"{each.field}: an answer is empty or stands there twice", field=each.field)
    open_ = [each for each in questions if len(each.answers) > 1]
    graded = iter(await service.grades([each.record(text) for each in open_], field="questions"))
    return [_answered(next(graded)) if len(each.answers) > 1 else Answered((1.0,)) for each in questions]


def _answered(grade: Grade) -> Answered:
    return Answered(tuple(grade.distribution.tolist()), grade.tokens)
