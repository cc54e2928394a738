"""Reads the label of a record: a number, one a person, or the one that belongs to the record's criterion."""

import json
import math
import numbers
import re
from collections.abc import Mapping
from typing import Any, Final

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import LabelError
from lager_onnx.models.values import is_missing, names, plain, visible

Record = Mapping[str, Any]

_PERSON: Final = (
    "rater|annotator|labell?er|worker|turker|crowd|crowd[ _-]?worker|user|person|human|participant|subject|respondent|"
    "judge|expert|reviewer|evaluator|assessor|grader|scorer|marker|coder|student|teacher"
)
# Keys that clearly are people.
_PEOPLE: Final = (
    re.compile(rf"(?:{_PERSON})|(?:{_PERSON})s?[\s_.:#-]*\d+|(?:{_PERSON})[\s_.:#-]+[a-z]", re.IGNORECASE),  # Rater 1
    re.compile(rf"(?=[A-Za-z][a-z]+[A-Z]$)(?i:{_PERSON})[A-Z]"),  # annotatorB
    re.compile(r"[a-mo-z]|[ahruw][_-]?\d+|p[_-]?(?!(?:25|50|75|90|95|99)$)\d+", re.IGNORECASE),  # no n, p50: statistics
    re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+"),
    re.compile(r"\d+"),
    # Identifiers such as A1B2C3 and 5f3ac09e1b, with letters between two numbers, so that ROUGE1 is none; UUIDs.
    re.compile(r"(?=.{6,64}$)(?:[A-Z0-9]*\d[A-Z]+\d[A-Z0-9]*|[a-f0-9]*\d[a-f]+\d[a-f0-9]*)"),
    re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE),
)
_FEW: Final = 10  # scores that a count may be kept of: "0" to "10"


def label_of(record: Record, field: str) -> float:
    """Return the label of a record: the mean of what each person said; see `ratings_of`."""
    ratings = ratings_of(record, field)
    return math.fsum(ratings) / len(ratings)


def ratings_of(record: Record, field: str) -> list[float]:
    """Return what each person said: one number, those of a list, or those of an object from person to number.

    A list or an object may be written as JSON text, as CSV has it; people who gave no label do not count. Of an object
    with a value for the record's own criterion, that one counts. Of another, all keys must clearly be people, such as
    `rater1`: first names could be anything, and are taken by `human_score.*` only.

    Args:
        record: with the label, and perhaps `criterion` or a rubric with a name.
        field: that holds the label; a dotted name goes into an object or a list of objects, such as
            `human_score.mean`. `human_score.*` takes all values of an object.

    Raises:
        LabelError: the field is missing, or holds something else; or an object whose keys may be statistics, criteria
            or whatever else, of which the wanted part must be named.
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
    """Return the value of a field, or of a dotted name; None where there is none.

    A step `*` takes all values of an object as a list: `human_score.*`, `human_score.*.score`.
    """
    if field in record:
        return record[field]
    first, *path = field.split(".")
    found = record.get(first)
    for step in path:
        found = _step(_read(found), step)
    return found


def _step(value: Any, step: str) -> Any:
    if step == "*":
        return list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else None
    if isinstance(value, list):
        return [_read(each).get(step) if isinstance(_read(each), Mapping) else None for each in value]
    return value.get(step) if isinstance(value, Mapping) else None


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
    found = [str(key).strip() for key in value]
    counts = bool(found) and all(re.fullmatch(r"[0-9]+", key) and int(key) <= _FEW for key in found)
    if not counts and all(any(form.fullmatch(key) for form in _PEOPLE) for key in found):
        return
    what = "which may be counts of scores or people" if counts else "which may be something else than people"
    wanted = f", and there is none for the record's criterion, {visible(own)}" if own else ""
    every = f"{field}.*"
    raise LabelError(
        f"the label in field {field!r} is an object with {names(found)}, {what}{wanted}: say which of its fields is "
        f"the label, {_named(field, value)}; or, if each is a person's label",
        Cure(
            command=f"take the mean of all with --label '{every}', or give a list",
            python=f'take the mean of all with label="{every}", or give a list',
        ),
    )


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
