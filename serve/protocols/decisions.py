"""POST /v1/decisions: OpenAI's decisions, as `client.decisions.create` sends them."""

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StrictBool, StrictStr

from lager_onnx.serve.endpoint import Body, Endpoint, ForModel
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.protocols.questions import NO_YES, Answered, Asked, ask
from lager_onnx.serve.service import Service

Text = str | list[dict[str, Any]]


class Asking(Body):
    """What every question has."""

    instructions: Text
    name: str | None = None


class Predicate(Asking):
    """Is a statement about the input true?"""

    type: Literal["predicate"]


class Option(Body):
    """One of the choices."""

    value: StrictStr | StrictBool
    description: str | None = None


class Choice(Asking):
    """Which of the choices?"""

    type: Literal["choice"]
    choices: Annotated[list[Option], Field(min_length=1)]


class Level(Body):
    """One of the levels."""

    label: str
    description: str | None = None


class Score(Asking):
    """Which level? They stand from the lowest to the highest."""

    type: Literal["score"]
    levels: Annotated[list[Level], Field(min_length=1)]


Question = Annotated[Predicate | Choice | Score, Field(discriminator="type")]


class Decisions(ForModel):
    """Questions about one input."""

    input: str | list[dict[str, Any]]
    questions: Annotated[list[Question], Field(min_length=1)]


async def answer(service: Service, body: Decisions) -> dict[str, Any]:
    """Answers in the order of the questions."""
    asked = [_asked(question, f"questions.{number}") for number, question in enumerate(body.questions)]
    answered = await ask(service, _conversation(body.input), asked)
    tokens = sum(each.tokens for each in answered)
    return {
        "answers": [_answer(*each) for each in zip(body.questions, answered, strict=True)],
        "model": service.named(body.model),
        "usage": {
            "input_tokens": tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens,
        },
    }


def _asked(question: Predicate | Choice | Score, field: str) -> Asked:
    about = _text(question.instructions, f"{field}.instructions")
    if isinstance(question, Choice):
        values = [
            str(option.value).lower() if option.value in (True, False) else option.value for option in question.choices
        ]
        described = zip(values, question.choices, strict=True)
        return Asked(f"{field}.choices", about, [_with(str(value), option.description) for value, option in described])
    if isinstance(question, Score):
        return Asked(
            f"{field}.levels", about, [_with(each.label, each.description) for each in question.levels], levels=True
        )
    return Asked(field, about, NO_YES)


def _with(name: str, description: str | None) -> str:
    return f"{name}: {description}" if description else name


def _answer(question: Predicate | Choice | Score, answered: Answered) -> dict[str, Any]:
    found: dict[str, Any] = {"type": question.type, "name": question.name}
    if isinstance(question, Predicate):
        return found | {"probability": answered.probabilities[1]}
    found["confidence"] = answered.confidence
    if isinstance(question, Choice):
        named = zip(question.choices, answered.probabilities, strict=True)
        return found | {
            "choice": question.choices[answered.likeliest].value,
            "probabilities": [{"value": option.value, "probability": each} for option, each in named],
        }
    levels = enumerate(zip(question.levels, answered.probabilities, strict=True))
    return found | {
        "score": answered.level,
        "probabilities": [
            {"label": level.label, "value": number, "probability": each} for number, (level, each) in levels
        ],
    }


def _conversation(given: str | list[dict[str, Any]]) -> str:
    """The input as one text: of several turns, each with the name of its speaker."""
    if isinstance(given, str):
        return given
    turns = [(_speaker(item), _item(item, f"input.{number}")) for number, item in enumerate(given)]
    turns = [(speaker, text) for speaker, text in turns if text]
    if len(turns) == 1 and turns[0][0] == "user":
        return turns[0][1]
    return "\n\n".join(f"{speaker}: {text}" for speaker, text in turns)


def _speaker(item: dict[str, Any]) -> str:
    if "role" in item:
        return str(item["role"])
    return "tool" if str(item.get("type", "")).endswith("_output") else f"call of {item.get('name', 'a tool')}"


def _item(item: dict[str, Any], field: str) -> str:
    for name in ("content", "arguments", "output", "input"):
        if name in item:
            return _text(item[name], f"{field}.{name}")
    raise RequestError(f"{field}: a message, a call or its output is wanted here", field=field)


def _text(given: Any, field: str) -> str:
    """Text, or the text of a list of parts; null, as a message beside calls of tools has it, is empty.

    Raises:
        RequestError: a part is no text, such as an image.
    """
    if given is None or isinstance(given, str):
        return given or ""
    if not isinstance(given, list):
        return json.dumps(given, ensure_ascii=False)
    parts = [part.get("text", part.get("refusal")) if isinstance(part, dict) else None for part in given]
    for number, part in enumerate(parts):
        if not isinstance(part, str):
            raise RequestError(f"{field}.{number}: this judge reads text only", field=f"{field}.{number}")
    return "\n".join(part for part in parts if part)


ENDPOINTS: Final = (
    Endpoint("/v1/decisions", Decisions, answer, "OpenAI's decisions: predicates, choices and scores about an input."),
)
