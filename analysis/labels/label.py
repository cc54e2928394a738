"""Reads the label of a record: a number, one a person, or the one that belongs to the record's criterion."""

import json
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lager_onnx.models.criteria import CRITERIA
from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import LabelError
from lager_onnx.models.values import is_missing, names, plain, visible

Record = Mapping[str, Any]

_STATISTICS: Final = frozenset({
    "mean", "avg", "average", "median", "mode", "std", "stdev", "stddev", "sd",
    "sem", "se", "var", "variance", "count", "counts", "n", "num", "number",
    "total", "sum", "min", "max", "minimum", "maximum", "range", "low", "high",
    "lower", "upper", "ci", "p", "value", "values", "quantile", "percentile", "agreement",
    "alpha", "kappa",
})  # fmt: skip
_OF_ONE_LABEL: Final = frozenset({
    "label", "labels", "score", "scores", "rating", "ratings", "grade", "grades", "annotation",
    "annotations", "answer", "annotator", "annotators", "rater", "raters", "worker", "user", "id",
    "uid", "uuid", "name", "person", "time", "timestamp", "date", "duration", "confidence",
    "weight", "comment", "reason", "text", "source", "scale",
})  # fmt: skip
_CRITERIA: Final = {word for name in CRITERIA for word in name.split("-")} | {
    "overall", "quality", "style", "tone", "humor", "humour", "depth", "detail", "details",
    "grammar", "language", "logic", "format", "formatting", "structure", "content", "spelling", "length",
    "readability", "accuracy", "clarity", "truth", "facts", "factual", "safety", "harm", "harmless",
    "helpful", "honest", "correct", "coherent", "fluent", "relevant", "complete", "concise",
}  # fmt: skip
# Names of qualities end so, and names of people seldom do.
_OF_A_QUALITY: Final = re.compile(r".{2,}(ness|ity|ence|ance|ency|ancy|tion|sion|ment|acy|ism|ability|ibility)")
_FEW: Final = 10  # scores that a count may be kept of: "0" to "10"


def label_of(record: Record, field: str) -> float:
    """Return the label of a record: the mean of what each person said; see `ratings_of`."""
    ratings = ratings_of(record, field)
    return math.fsum(ratings) / len(ratings)


def ratings_of(record: Record, field: str) -> list[float]:
    """Return what each person said: one number, those of a list, or those of an object from person to number.

    A list or an object may be written as JSON text, as CSV has it; people who gave no label do not count. Of an object
    with one value a criterion, that of the record's own criterion counts.

    Args:
        record: with the label, and perhaps `criterion` or a rubric with a name.
        field: that holds the label; a dotted name goes into an object or a list of objects, such as
            `human_score.mean`.

    Raises:
        LabelError: the field is missing, or holds something else; or an object of statistics, of several criteria, or
            of what belongs to one label, of which the wanted part must be named.
    """
    value = value_at(record, field)
    given = [each for each in _people(value, record, field) if not is_missing(each)]
    if not given:
        raise LabelError(
            f"no label in field {field!r}; the record has {names(record)}",
            Cure(
                command="add it, or name another field with --label",
                python="add it, or name another field by label=",
            ),
        )
    return [_number(each, value, field) for each in given]


def value_at(record: Record, field: str) -> Any:
    """Return the value of a field, or of a dotted name; None where there is none."""
    if field in record:
        return record[field]
    first, *path = field.split(".")
    found = record.get(first)
    for step in path:
        found = _read(found)
        if isinstance(found, list):
            found = [_read(each).get(step) if isinstance(_read(each), Mapping) else None for each in found]
        else:
            found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _read(value: Any) -> Any:
    """Return a value in plain Python; JSON text of a list or an object as what it holds."""
    value = plain(value)
    if isinstance(value, str) and value.strip().startswith(("[", "{")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _people(value: Any, record: Record, field: str) -> list[Any]:
    """Return the labels in a value, one a person."""
    value = _read(value)
    if isinstance(value, Mapping):
        own = _criterion(record)
        if own and (keys := [key for key in value if _plain(key) == own]):
            return _people(value[keys[0]], {}, field)
        _check_people(value, field, own)
        return list(value.values())
    if not isinstance(value, list):
        return [value]
    if objects := [each for each in value if isinstance(each, Mapping)]:
        raise LabelError(
            f"the label in field {field!r} is a list of objects ({names(objects[0])}): say which of their fields is "
            f"the label, {_named(field, objects[0])}"
        )
    return value


def _check_people(value: Mapping[Any, Any], field: str, own: str) -> None:
    """Refuse an object whose keys may be anything but people."""
    found = [str(key) for key in value]
    words = {key: re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).lower()) for key in found}
    if any(_is_part(each, _STATISTICS) for each in words.values()):
        what = "statistics"
    elif any(_is_part(each, _OF_ONE_LABEL) for each in words.values()):
        what = "what belongs to one label"
    elif any(word in _CRITERIA or _OF_A_QUALITY.fullmatch(word) for each in words.values() for word in each):
        what = "one label a criterion" + (f", and none for the record's own, {visible(own)}" if own else "")
    elif found and all(key.strip().isdecimal() and int(key) <= _FEW for key in found):
        what = "numbers by number, which may be counts of scores or people"
    else:
        return
    raise LabelError(
        f"the label in field {field!r} is an object of {what} ({names(found)}): say which of its fields is the label, "
        f"{_named(field, value)}, or give the labels of several people as a list"
    )


def _is_part(words: Sequence[str], parts: frozenset[str]) -> bool:
    """Return whether a key names one of the parts, such as `annotator_id`; `annotator_1` names a person."""
    return words[-1] in parts and not any(word.isdecimal() for word in words)


def _named(field: str, value: Mapping[Any, Any]) -> str:
    numeric = [key for key in value if not isinstance(value[key], str | bool | Mapping) and not is_missing(value[key])]
    keys = [key for key in numeric if str(key) in ("mean", "label", "score", "rating", "value")] or numeric or [*value]
    return f"such as {visible(f'{field}.{keys[0]}')!r}" if keys else "by a dotted name"


def _criterion(record: Record) -> str:
    """Return the name of the record's criterion as `_plain` has it; "" where it has none."""
    name, rubric = record.get("criterion"), _read(record.get("rubric"))
    if is_missing(name) and isinstance(rubric, Mapping):
        name = rubric.get("name")
    return "" if is_missing(name) else _plain(name)


def _plain(name: Any) -> str:
    return re.sub(r"[\s_-]+", "-", str(name).strip().lower())


def _number(value: Any, whole: Any, field: str) -> float:
    """Return a number, which may be text as in CSV."""
    number = math.nan
    if isinstance(value, str) and "_" not in value:  # Python reads 1_0 as ten
        try:
            number = float(value)
        except ValueError:
            number = math.nan
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.nan
    if not math.isfinite(number):
        raise LabelError(f"the label {visible(repr(whole)[:80])} in field {field!r} is not a number")
    return number
