"""What a value of a record is: missing, text, or something that cannot be read as text."""

import math
import numbers
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from lager_onnx.models.columns import likely_column
from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import RecordError

_SHOWN: Final = 12  # fields in a message
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    9: "\\t", 10: "\\n", 13: "\\r", 0x2028: "\\u2028", 0x2029: "\\u2029"
}  # fmt: skip


def plain(value: Any) -> Any:
    """Return a cell of any table as plain Python: lists and dicts of text, numbers, booleans and None, however deep.

    Arrays, tensors and pandas' Series become lists, numpy's scalars those of Python, Decimal an int or a float, pandas'
    NA and NaT None. What is none of these, such as a date, stays as it is.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {key if isinstance(key, str | tuple) else plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if callable(getattr(value, "tolist", None)) and type(value).__name__ not in ("datetime64", "timedelta64"):
        found = value.tolist()  # numpy, torch, pandas
        return value if type(found) is type(value) else plain(found)
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    return str(value) if isinstance(value, str) else value


def is_missing(value: Any) -> bool:
    """Whether a value says that there is none: None, NaN, pandas' NA and NaT, or text of nothing but white space."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, numbers.Real) and math.isnan(value)


def as_text(value: Any, name: str) -> str:
    """A value that is not missing, as text; a list of passages of text is joined by blank lines.

    Raises:
        RecordError: it is neither text nor a plain number, nor such a list.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and type(value).__name__ != "bool_":
        if math.isinf(value):
            raise RecordError(f"field {name!r} is infinite, not text")
        return str(value)
    if name == "context" and isinstance(value, list | tuple):
        return "\n\n".join(as_text(passage, "passage") for passage in value if not is_missing(passage))
    raise RecordError(f"field {name!r} is {type(value).__name__}, not text")


def text_field(record: Mapping[str, Any], name: str, *, optional: bool = False) -> str:
    """A field of a record, as text; "" where an optional one is missing or empty.

    Raises:
        RecordError: it is needed and missing or empty, or it is not text.
    """
    value = record.get(name)
    if not is_missing(value):
        text = as_text(value, name)
        if text.strip():
            return text
    if optional:
        return ""
    if name in record:
        raise RecordError(f"field {name!r} is empty")
    original = getattr(record, "original", None) or record
    if name in original:
        raise RecordError(
            f"field {name!r} is read under another name only",
            Cure(
                command=f"add --field {name}={name} to read it as both",
                python=f'add "{name}": "{name}" to fields to read it as both',
                http=f'add "{name}": "{name}" to fields to read it as both',
            ),
        )
    raise RecordError(
        f"field {name!r} is missing; the record has {names(original)}", _where_it_may_be(record, original, name)
    )


def _where_it_may_be(record: Mapping[str, Any], original: Mapping[str, Any], name: str) -> Cure:
    """Return how to name the column that holds a missing field: the likeliest of those that nothing else reads."""
    read = [record[each] for each in getattr(record, "asked", ()) if each in record]
    free = {column: value for column, value in original.items() if not any(value is each for each in read)}
    column = likely_column(name, free)
    given = "if another field holds it" + (f", such as {visible(column)}" if column else "")
    shown = visible(column) if column else "COLUMN"
    return Cure(
        command=f"{given}, add --field {name}={shown}",
        python=f'{given}, give fields={{"{name}": "{shown}"}}',
        http=f"{given}, send it as {name!r}",
    )


def names(fields: Iterable[Any]) -> str:
    """Names of fields for a message, the first few."""
    found = [visible(str(field)) for field in fields]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (", ".join(found[:_SHOWN]) + more) or "no field"


def visible(text: str) -> str:
    """Text of a record as it may be shown on a terminal: one line, control characters and half surrogates escaped."""
    return text.translate(_CONTROL).encode("utf-8", "backslashreplace").decode("utf-8")
