"""Reads dataclasses from JSON, and trusts nothing."""

import dataclasses
import math
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def decode(kind: type[T], content: Any, where: str = "") -> T:
    """An object of a dataclass from a JSON object that has its fields, each of its type, and no others.

    Raises:
        ValueError: something is missing, surplus, or of another type; says what.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{where or 'it'} is {type(content).__name__}, not an object")  # noqa: TRY004
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    if surplus := sorted(set(content) - {field.name for field in fields}):
        raise ValueError(f"{_at(where, surplus[0])} is not known")
    values = {}
    for field in fields:
        if field.name in content:
            values[field.name] = _value(hints[field.name], content[field.name], _at(where, field.name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{_at(where, field.name)} is missing")
    return kind(**values)


def _value(kind: Any, content: Any, where: str) -> Any:  # noqa: PLR0911 - a case a type
    origin, inner = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return decode(kind, content, where)
    if origin in (Union, types.UnionType):
        return None if content is None and type(None) in inner else _value(inner[0], content, where)
    if origin is Literal:
        if not isinstance(content, str) or content not in inner:
            raise ValueError(f"{where} is {content!r:.60}, not one of {', '.join(inner)}")
        return content
    if origin is tuple and isinstance(content, list):
        if inner[-1] is not Ellipsis and len(inner) != len(content):
            raise ValueError(f"{where} holds {len(content)} values, not {len(inner)}")
        kinds = [inner[0]] * len(content) if inner[-1] is Ellipsis else inner
        return tuple(
            _value(each, value, f"{where}[{n}]") for n, (each, value) in enumerate(zip(kinds, content, strict=True))
        )
    if origin is dict and isinstance(content, dict):
        return {key: _value(inner[1], value, _at(where, key)) for key, value in content.items()}
    if kind is float and isinstance(content, int | float) and not isinstance(content, bool):
        if not math.isfinite(content):
            raise ValueError(f"{where} is {content}")
        return float(content)
    if kind in (int, str) and type(content) is kind:
        return content
    raise ValueError(f"{where} is {type(content).__name__}, which it cannot be")


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else str(name)
