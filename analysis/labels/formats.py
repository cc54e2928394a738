"""Labelled data in the forms in which it is published, as plain records with `human_score`, `group` and `dataset`."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from lager_onnx.analysis.labels.groups import group_name
from lager_onnx.analysis.labels.label import label_of, ratings_of
from lager_onnx.models.errors import LabelError
from lager_onnx.models.values import is_missing, names

__all__ = ["DATA_FORMATS", "HELPSTEER_ATTRIBUTES", "LABEL_FIELDS", "DataFormat", "label_of"]

DataFormat = Literal["plain", "prometheus", "helpsteer", "biggen", "reference"]
Record = Mapping[str, Any]

HELPSTEER_ATTRIBUTES: Final = {
    "helpfulness": "How helpful is the response to the prompt overall?",
    "correctness": "Does the response hold all pertinent facts, without errors?",
    "coherence": "Is the response consistent and clearly expressed?",
    "complexity": "How much depth of knowledge does it take to write the response?",
    "verbosity": "How much detail does the response hold, relative to what the prompt asks for?",
}
_SCORES: Final = range(1, 6)
_SECTION = re.compile(
    r"^#{2,3} ?"
    r"(The instruction to evaluate|Response to evaluate|Reference Answer[^:\n]*|Score Rubrics|Feedback):[ \t]*",
    re.MULTILINE | re.IGNORECASE,
)
_SCORE_LINE = re.compile(r"^Score (\d+): *(.*)$", re.MULTILINE)


def plain(record: Record) -> Iterator[Record]:
    """A record as `lager score` takes it, with a label beside."""
    yield record


def prometheus(record: Record) -> Iterator[Record]:
    """Prometheus' `flask_eval`, `vicuna_eval`, `mt_bench_eval`: one text with sections.

    The label is the mean of `human_score` (a list, one a person, or a number), or else of `gpt4_score`.
    """
    text = _text(record, "instruction")
    parts = _SECTION.split(text)
    sections = {name.lower(): body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    reference = next((body for name, body in sections.items() if name.startswith("reference")), "")
    missing = {"the instruction to evaluate", "response to evaluate", "score rubrics"} - set(sections)
    if missing:
        raise LabelError(f"the text in 'instruction' has no section '###{sorted(missing)[0]}:'")
    rubric = sections["score rubrics"]
    question = rubric.split("\nScore ", 1)[0].strip().strip("[]")
    yield {
        "instruction": sections["the instruction to evaluate"],
        "response": sections["response to evaluate"],
        **({"reference": reference} if reference else {}),
        "rubric": {"question": question, "descriptions": dict(_SCORE_LINE.findall(rubric))},
        "human_score": ratings_of(record, "human_score" if "human_score" in record else "gpt4_score"),
        "group": f"{sections['the instruction to evaluate']}\0{sections['response to evaluate']}",
        "dataset": "prometheus",
    }


def helpsteer(record: Record) -> Iterator[Record]:
    """HelpSteer: `prompt`, `response` and five attributes from 0 to 4; one record an attribute, shifted to 1 to 5.

    An attribute that is missing is an error in the place of its record, and costs the others nothing.
    """
    prompt, response = _text(record, "prompt"), _text(record, "response")
    for attribute, question in HELPSTEER_ATTRIBUTES.items():
        try:
            label: list[float] | LabelError = [rating + 1 for rating in ratings_of(record, attribute)]
        except LabelError as error:
            label = error
        yield {
            "instruction": prompt,
            "response": response,
            "criterion": attribute,
            "rubric": {"name": attribute, "question": question},
            "human_score": label,
            "group": prompt,
            "dataset": "helpsteer",
        }


def biggen(record: Record) -> Iterator[Record]:
    """BiGGen-Bench results: `input`, `response`, `score_rubric`, `human_score` and perhaps `reference_answer`."""
    rubric = record.get("score_rubric")
    if isinstance(rubric, str):  # as CSV has it
        try:
            rubric = json.loads(rubric)
        except (ValueError, RecursionError) as error:
            raise LabelError(f"field 'score_rubric' is text that is no JSON ({error})") from error
    if not isinstance(rubric, Mapping):
        raise LabelError(f"field 'score_rubric' is missing or no object; the record has {names(record)}")
    prompt = _text(record, "input")
    yield {
        "instruction": prompt,
        "response": _text(record, "response"),
        **({} if is_missing(record.get("reference_answer")) else {"reference": record["reference_answer"]}),
        "rubric": {
            "question": _text(rubric, "criteria"),
            "descriptions": {str(score): _text(rubric, f"score{score}_description") for score in _SCORES},
        },
        "human_score": _rated(record, "human_score"),
        "group": group_name(record.get("id")) or prompt,
        "dataset": "biggen",
        **({} if is_missing(record.get("capability")) else {"capability": str(record["capability"])}),
    }


def _rated(record: Record, field: str) -> list[float]:
    """Return the labels of a record of BiGGen-Bench, where -1 means none."""
    ratings = [rating for rating in ratings_of(record, field) if rating != -1]
    if not ratings:
        raise LabelError(f"field {field!r} is -1: nobody has rated this record")
    return ratings


def reference(record: Record) -> Iterator[Record]:
    """The reference repository's own lines: a finished `user_prompt` and its `score`."""
    prompt = _text(record, "user_prompt")
    yield {"prompt": prompt, "human_score": ratings_of(record, "score"), "group": prompt, "dataset": "reference"}


# The field that holds the label in its published form; HelpSteer's records have five.
LABEL_FIELDS: Final[dict[DataFormat, str]] = {
    "prometheus": "human_score",
    "biggen": "human_score",
    "reference": "score",
}
DATA_FORMATS: Final[dict[DataFormat, Callable[[Record], Iterator[Record]]]] = {
    "plain": plain,
    "prometheus": prometheus,
    "helpsteer": helpsteer,
    "biggen": biggen,
    "reference": reference,
}


def _text(record: Record, field: str) -> str:
    value = record.get(field)
    if is_missing(value):
        raise LabelError(f"field {field!r} is missing or empty; the record has {names(record)}")
    if not isinstance(value, str):
        raise LabelError(f"field {field!r} is {type(value).__name__}, not text")
    return value.strip()
