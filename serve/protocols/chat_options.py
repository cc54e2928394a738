"""Check the options of a chat request: those that an answer of one token keeps are taken, others refused by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from lager_onnx.serve.errors import RequestError

_ONE_ANSWER: Final = "a judge answers with one token, the same every time"
_KNOWN_NOWHERE: Final = "this server does not know it and cannot keep it"
_TEXT: Final = "the answer is a label of the judge's scale, as plain text"
_NO_TOOLS: Final = f"{_ONE_ANSWER}, and calls no tool"


@dataclass(frozen=True)
class _Option:
    """Values that can be kept, and why others cannot."""

    kept: Callable[[Any], bool]
    why: str


def _between(least: float, most: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _among(*values: Any) -> Callable[[Any], bool]:
    return lambda value: any(value is each or (isinstance(each, str) and value == each) for each in values)


def _empty(value: Any) -> bool:
    return value is False or value in ([], {})


def _anything(_value: Any) -> bool:
    return True


def _one(value: Any) -> bool:
    return value == 1 and isinstance(value, int) and not isinstance(value, bool)


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


# The likeliest token is the answer at every temperature, and the probabilities are those of temperature 1, as OpenAI's;
# penalties are of tokens that were written before, of which an answer of one token has none.
_OPTIONS: Final[Mapping[str, _Option]] = {
    "n": _Option(_one, _ONE_ANSWER),
    "best_of": _Option(_one, _ONE_ANSWER),
    "stream": _Option(_empty, _ONE_ANSWER),
    "tools": _Option(_empty, _NO_TOOLS),
    "functions": _Option(_empty, _NO_TOOLS),
    "tool_choice": _Option(_among("none", "auto"), _NO_TOOLS),
    "function_call": _Option(_among("none", "auto"), _NO_TOOLS),
    "parallel_tool_calls": _Option(_among(True, False), "true or false is wanted"),
    "response_format": _Option(lambda value: isinstance(value, dict) and value.get("type") == "text", _TEXT),
    "modalities": _Option(lambda value: value == ["text"], _TEXT),
    "logit_bias": _Option(_empty, "the probabilities are the judge's own"),
    "temperature": _Option(_between(0, 2), "from 0 to 2; the answer is the likeliest label at all of them"),
    "top_p": _Option(_between(0, 1), "from 0 to 1; the answer is the likeliest label at all of them"),
    "presence_penalty": _Option(_between(-2, 2), "from -2 to 2; an answer of one token repeats none"),
    "frequency_penalty": _Option(_between(-2, 2), "from -2 to 2; an answer of one token repeats none"),
    "max_tokens": _Option(_whole(1), "at least 1, which is what an answer has"),
    "max_completion_tokens": _Option(_whole(1), "at least 1, which is what an answer has"),
    "seed": _Option(_whole(-(2**63)), "a whole number; nothing is drawn"),
    "reasoning_effort": _Option(_among("none"), "nothing is written before the answer"),
    "verbosity": _Option(_among("low", "medium"), _ONE_ANSWER),
    "store": _Option(_empty, "this server keeps no chat"),
    "service_tier": _Option(_among("auto", "default"), "there is one tier"),
    # The caller's own labels, and hints for speed: no answer depends on them.
    **dict.fromkeys(
        ("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prediction"),
        _Option(_anything, ""),
    ),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that cannot be kept; null is as if an option were not there.

    Raises:
        RequestError: names the first of them.
    """
    for name, value in options.items():
        option = _OPTIONS.get(name, _Option(_empty, _KNOWN_NOWHERE))
        if value is not None and not option.kept(value):
            raise RequestError(f"{name}: {option.why}", field=name, status=HTTPStatus.BAD_REQUEST)


def check_stop(stop: Any, labels: tuple[str, ...]) -> None:
    """Refuse stop sequences that would cut an answer off.

    Raises:
        RequestError: one is part of a label, or they are no texts.
    """
    texts = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise RequestError("stop: a text or a list of texts is wanted", field="stop", status=HTTPStatus.BAD_REQUEST)
    if cut := [label for label in labels if any(each and each in label for each in texts)]:
        raise RequestError(f"stop: it would cut off the answer {cut[0]!r}", field="stop", status=HTTPStatus.BAD_REQUEST)
