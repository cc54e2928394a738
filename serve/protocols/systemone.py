"""POST /v1/systemone: nouls, choices and scores about a state, as typesafe-sdk sends them."""

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from lager_onnx.serve.endpoint import Body, Endpoint, ForModel
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.protocols.questions import NO_YES, Answered, Asked, ask
from lager_onnx.serve.service import Service

Content = str | dict[str, Any] | list[Any]


class Noul(Body):
    """Yes or no?"""

    type: Literal["noul"]
    instructions: Content | None = None
    criteria: dict[Literal["true", "false"], Content | None] | None = None


class Choice(Body):
    """Which of the labels?"""

    type: Literal["choice"]
    instructions: Content | None = None
    criteria: Annotated[dict[str, Content | None], Field(min_length=1)]


class Score(Body):
    """Which level, from 0?"""

    type: Literal["score"]
    instructions: Content | None = None
    criteria: Annotated[list[Content], Field(min_length=1)]


Question = Annotated[Noul | Choice | Score, Field(discriminator="type")]


class SystemOne(ForModel):
    """Questions about one state, by their names."""

    state: Content
    questions: Annotated[dict[str, Question], Field(min_length=1)]
    assets: dict[str, Any] | None = None


async def answer(service: Service, body: SystemOne) -> dict[str, Any]:
    """Answers by the names of the questions."""
    if body.assets:
        raise RequestError("assets: this judge reads text only", field="assets")
    asked = [_asked(question, f"questions.{name}") for name, question in body.questions.items()]
    answered = await ask(service, _text(body.state), asked)
    pairs = zip(body.questions.items(), answered, strict=True)
    return {
        "answers": {name: _answer(question, each) for (name, question), each in pairs},
        "model": service.named(body.model),
        "usage": {"input_tokens": sum(each.tokens for each in answered), "output_tokens": 0},
    }


def _asked(question: Noul | Choice | Score, field: str) -> Asked:
    about = _text(question.instructions) if question.instructions is not None else ""
    if isinstance(question, Choice):
        named = [f"{label}: {_text(text)}" if text is not None else label for label, text in question.criteria.items()]
        return Asked(f"{field}.criteria", about or "Which of the answers fits the text?", named)
    if isinstance(question, Score):
        return Asked(
            f"{field}.criteria",
            about or "Which level fits the text?",
            [_text(each) for each in question.criteria],
            levels=True,
        )
    described = {key: _text(text) for key, text in (question.criteria or {}).items() if text is not None}
    if not about and not described:
        raise RequestError(f"{field}: instructions or criteria are needed", field=field)
    answers = [
        f"{word}: {described[key]}" if key in described else word
        for word, key in zip(NO_YES, ("false", "true"), strict=True)
    ]
    return Asked(field, about or "Which of the answers is true of the text?", answers)


def _answer(question: Noul | Choice | Score, answered: Answered) -> dict[str, Any]:
    if isinstance(question, Noul):
        return {"type": "noul", "noul": answered.probabilities[1]}
    if isinstance(question, Choice):
        labels = list(question.criteria)
        return {
            "type": "choice",
            "choice": labels[answered.likeliest],
            "confidence": answered.confidence,
            "probabilities": dict(zip(labels, answered.probabilities, strict=True)),
        }
    levels = range(len(question.criteria))
    return {
        "type": "score",
        "score": answered.level,
        "confidence": answered.confidence,
        "legend": {str(level): question.criteria[level] for level in levels},
        "probabilities": {str(level): answered.probabilities[level] for level in levels},
    }


def _text(content: Content) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1)


ENDPOINTS: Final = (
    Endpoint("/v1/systemone", SystemOne, answer, "Nouls, choices and scores about a state, as typesafe-sdk asks them."),
)
