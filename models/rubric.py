"""What a response is graded on, read from a record: a built-in criterion or the record's own rubric."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lager_onnx.models.criteria import CRITERIA
from lager_onnx.models.errors import RecordError
from lager_onnx.models.scale import Scale
from lager_onnx.models.values import is_missing, names, visible


@dataclass(frozen=True)
class Rubric:
    """A named question with, per score label, a description (any of the two may be missing)."""

    name: str = ""
    question: str = ""
    descriptions: Mapping[str, str] = field(default_factory=dict)

    def render(self, scale: Scale) -> str:
        """The rubric as the judge reads it: the criterion, then one line a described score, in scale order."""
        lines = [": ".join(part for part in (self.name, self.question) if part)]
        lines += [f"{label}: {self.descriptions[label]}" for label in scale.labels if label in self.descriptions]
        return "\n".join(line for line in lines if line)


def read_rubric(record: Mapping[str, Any], scale: Scale) -> Rubric | None:
    """The rubric of a record, or None where it names neither criterion nor rubric.

    `rubric` may be the question as text, or a mapping with `name`, `question` and `descriptions` (a mapping
    from label to text, or a list in scale order). A `criterion` beside it is then only its name, and
    `score_descriptions` beside a text gives the descriptions. Without `rubric`, `criterion` names a built-in one.
    What is missing in a rubric, such as the null fields of a table's structs, is not there.

    Raises:
        RecordError: an unknown criterion, a rubric of another form, or a description of a score that the
            scale does not have.
    """
    name, rubric, descriptions = (_given(record, key) for key in ("criterion", "rubric", "score_descriptions"))
    if not isinstance(name, str):
        raise RecordError(f"field 'criterion' is {type(name).__name__}; give the name of a criterion as text")
    if not rubric:
        return _built_in(name, scale) if name else None
    if isinstance(rubric, str):
        return Rubric(name, rubric.strip(), _descriptions(descriptions or {}, scale))
    if not isinstance(rubric, Mapping):
        raise RecordError("field 'rubric' must be a question or an object with name, question and descriptions")
    rubric = {key: value for key, value in rubric.items() if not _is_empty(value)}
    if not rubric:
        return _built_in(name, scale) if name else None
    if unknown := set(rubric) - {"name", "question", "descriptions"}:
        raise RecordError(
            f"field 'rubric' has {names(sorted(map(str, unknown)))}; it may have name, question, descriptions"
        )
    texts = {key: rubric.get(key) or "" for key in ("name", "question")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise RecordError("'name' and 'question' of field 'rubric' must be text")
    found = Rubric(texts["name"] or name, texts["question"], _descriptions(rubric.get("descriptions") or {}, scale))
    if not found.render(scale):
        raise RecordError("field 'rubric' is empty; give at least a question")
    return found


def _is_empty(value: Any) -> bool:
    """Return whether a value is missing, or a table's struct in which every field is."""
    return is_missing(value) or (isinstance(value, Mapping) and bool(value) and all(map(is_missing, value.values())))


def _given(record: Mapping[str, Any], name: str) -> Any:
    value = record.get(name)
    return "" if is_missing(value) else value


def _built_in(name: str, scale: Scale) -> Rubric:
    if name not in CRITERIA:
        raise RecordError(
            f"unknown criterion '{visible(name)}'; choose from {', '.join(CRITERIA)}, or give a 'rubric' of your own"
        )
    criterion = CRITERIA[name]
    # Without its name, which the question says in other words: criteria of one response then share more of their cost.
    return Rubric("", criterion.question, {scale.lowest: criterion.low, scale.highest: criterion.high})


def _descriptions(given: Any, scale: Scale) -> dict[str, str]:
    if isinstance(given, list) and given and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in given):
        labels = [str(label) for label, _ in given]  # a map of a Parquet file
        if len(set(labels)) < len(labels):
            raise RecordError("the rubric describes a score twice")
        given = dict(given)
    if isinstance(given, list):
        if len(given) != len(scale.labels):
            raise RecordError(f"the rubric describes {len(given)} scores, the scale has {len(scale.labels)}: {scale}")
        given = dict(zip(scale.labels, given, strict=True))
    if not isinstance(given, Mapping):
        raise RecordError("a rubric's descriptions must be an object from score to text, or a list in scale order")
    described = {str(label): text for label, text in given.items() if not is_missing(text)}
    if unknown := [label for label in described if label not in scale.labels]:
        raise RecordError(f"the rubric describes {names(unknown)}, which the scale does not have: {scale}")
    if wrong := [label for label, text in described.items() if not isinstance(text, str)]:
        raise RecordError(f"the rubric's description of {visible(wrong[0])} is not text")
    return described
