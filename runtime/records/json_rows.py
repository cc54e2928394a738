"""Records from JSON lines, and from JSON in the forms that people have."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import IO, Any, Final

from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import names, visible
from lager_onnx.runtime.records.json_text import Twice, loads, names_twice, twice_error
from lager_onnx.runtime.records.row import Row
from lager_onnx.runtime.records.source import Source, encoding_of, lines_of, not_in_encoding

_WRAPPERS: Final = ("data", "records", "rows", "examples", "instances")
_SAVED: Final = 10_000  # characters of a broken line that are kept in its row


def json_lines(stream: IO[bytes], source: Source, *, first: int = 1) -> Iterator[Row]:
    """One object a line; the stream begins at line `first` of the file."""
    for number, line in enumerate(_physical_lines(stream, source), start=first):
        if line.strip():
            yield _json_line(line, number, f"{source.name}, line {number}")


def json_rows(stream: IO[bytes], source: Source) -> Iterator[Row]:
    """An array of objects, an object that holds one, columns, or JSON lines under another name.

    Raises:
        RecordError: it is none of these.
    """
    encoding = encoding_of(stream, source)
    content = stream.read()
    try:
        found = loads(content.decode(encoding))
    except (ValueError, RecursionError) as error:
        if content.lstrip().startswith(b"{") and b"\n" in content.strip():
            again = io.BufferedReader(io.BytesIO(content))
            yield from json_lines(again, replace(source, encoding=encoding))
            return
        raise RecordError(f"{source.name} is not JSON ({error}): write an array of objects, or JSON lines") from error
    for number, record in enumerate(_records(found, source), start=1):
        where = f"{source.name}, record {number}"
        if (twice := names_twice(record)) is not None:
            yield Row(where, {"line": number, "input": record}, twice)
        elif isinstance(record, dict):
            yield Row(where, record)
        else:
            problem = RecordError(f"not an object with fields but {type(record).__name__}")
            yield Row(where, {"line": number, "input": record}, problem)


def _records(found: Any, source: Source) -> list[Any]:
    if isinstance(found, list):
        return found
    if not isinstance(found, dict):
        raise RecordError(f"{source.name} holds {type(found).__name__}: write an array of objects, or JSON lines")
    if isinstance(found, Twice):
        raise twice_error(found.names).at(source.name)
    wrapped = [found[name] for name in _WRAPPERS if isinstance(found.get(name), list)]
    if len(wrapped) == 1 and all(isinstance(record, dict) for record in wrapped[0]):
        return list(wrapped[0])
    if found and all(isinstance(column, list | dict) for column in found.values()) and "messages" not in found:
        return _rows_of_columns(found, source)
    return [found]


def _rows_of_columns(found: dict[str, Any], source: Source) -> list[dict[str, Any]]:
    """Records of columns: lists of one length, or objects with the same keys, as pandas' `to_json` writes them."""
    columns: dict[str, list[Any]] = {}
    keys: list[Any] | None = None
    for name, column in found.items():
        if isinstance(column, Twice):
            raise twice_error(column.names).at(f"{source.name}, column {visible(name)}")
        own = list(column) if isinstance(column, Mapping) else list(range(len(column)))
        if keys is not None and own != keys:
            raise RecordError(
                f"{source.name} looks like columns ({names(found)}), but they are not of one length: write an array of "
                "objects, or JSON lines"
            )
        keys, columns[name] = own, list(column.values()) if isinstance(column, Mapping) else column
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _physical_lines(stream: IO[bytes], source: Source) -> Iterator[str]:
    """Lines that end at a line feed: JSON text may hold other line ends, such as U+2028, and carriage returns."""
    pending: list[str] = []
    for part in lines_of(stream, source):
        pending.append(part)
        if part.endswith("\n"):
            yield "".join(pending)
            pending = []
    if pending:
        yield "".join(pending)


def _json_line(line: str, number: int, where: str) -> Row:
    problem = not_in_encoding(line)
    if problem is None:
        try:
            record = loads(line)
        except (ValueError, RecursionError) as error:
            problem = RecordError(f"not JSON ({error}): write one JSON object a line")
        else:
            kind = type(record).__name__
            problem = names_twice(record)
            if problem is None and isinstance(record, dict):
                return Row(where, record)
            problem = problem or RecordError(f"not an object with fields but {kind}: write one JSON object a line")
    kept = line.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:_SAVED]
    return Row(where, {"line": number, "input": kept}, problem)
