"""JSON in which no object may have two fields of one name: Python's reader would take the last without a word."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import names


class Twice(dict[str, Any]):
    """An object that has the fields `names` twice."""

    names: tuple[str, ...] = ()


def loads(text: str | bytes) -> Any:
    """Return the value of JSON text, with a `Twice` in the place of every object that has a field twice.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested beyond reason.
    """
    return json.loads(text, object_pairs_hook=_object)


def names_twice(value: Any) -> RecordError | None:
    """Return what is wrong with a value that holds an object with two fields of one name, however deep; else None."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, Twice):
            return twice_error(each.names)
        if isinstance(each, dict | list):
            left.extend(each.values() if isinstance(each, dict) else each)
    return None


def twice_error(fields: Iterable[str]) -> RecordError:
    """Return the error of an object that has these fields twice."""
    return RecordError(f"an object has the field {names(fields)} twice: rename one of them, or take it out")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice = Twice(found)
    twice.names = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return twice
