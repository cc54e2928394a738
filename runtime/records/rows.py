"""Rows of an input, whatever its format; a broken one becomes a row with its error."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Final

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.records.csv_rows import csv_rows
from lager_onnx.runtime.records.json_rows import json_lines, json_rows
from lager_onnx.runtime.records.parquet_rows import parquet_rows
from lager_onnx.runtime.records.row import Row
from lager_onnx.runtime.records.source import Format, Source, format_of, open_bytes

_READERS: Final[dict[Format, Callable[[IO[bytes], Source], Iterator[Row]]]] = {
    "jsonl": json_lines,
    "json": json_rows,
    "csv": csv_rows,
    "parquet": parquet_rows,
}


def read_rows(source: str | Source, format_: Format | None = None) -> Iterator[Row]:
    """Reads an input file, or standard input for "-", row by row. Empty lines are passed over.

    Raises:
        RecordError: at once where the file is not there; while reading where it is broken beyond single rows.
    """
    if isinstance(source, str):
        source = Source(source, format_)
    reader = _READERS[format_of(source)]
    try:
        exists = source.path == "-" or Path(source.path).exists()
    except (ValueError, OSError) as error:  # a NUL, a name too long
        raise RecordError(f"cannot read {source.name}: {error}") from error
    if not exists:
        raise RecordError(f"cannot read {source.name}: there is no such file")
    return _rows(source, reader)


def some_rows(source: Source) -> Iterator[Row]:
    """Return what `read_rows` does, of an input that holds at least one row.

    Raises:
        RecordError: at once where it holds none, as a table of nothing but its header.
    """
    return at_least_one(read_rows(source), source)


def at_least_one(rows: Iterator[Row], source: Source) -> Iterator[Row]:
    """Return rows as they are.

    Raises:
        RecordError: at once where there is none.
    """
    first = next(rows, None)
    if first is None:
        raise RecordError(f"{source.name} holds no records")
    return chain((first,), rows)


def _rows(source: Source, reader: Callable[[IO[bytes], Source], Iterator[Row]]) -> Iterator[Row]:
    with open_bytes(source) as stream:
        yield from reader(stream, source)
