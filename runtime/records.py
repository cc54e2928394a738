"""Reads records from JSON lines, JSON or CSV; a broken one becomes a row with its error."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from lager_onnx.models.errors import RecordError

Format = Literal["jsonl", "json", "csv"]
_BY_SUFFIX: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv"}


@dataclass(frozen=True)
class Row:
    """One row of the input.

    Attributes:
        where: file and line (or number in a JSON array), for messages.
        record: its fields; for a row that cannot be read, what could be saved of it (`line` and `input`).
        error: why it cannot be read.
    """

    where: str
    record: dict[str, Any]
    error: RecordError | None = None


def format_of(source: str, given: Format | None = None) -> Format:
    """The format of an input: as given, else by the file's ending; JSON lines for standard input.

    Raises:
        RecordError: an unknown ending.
    """
    if given or source == "-":
        return given or "jsonl"
    suffix = Path(source).suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise RecordError(
            f"cannot tell the format of {source} by its ending {suffix!r}: add --format jsonl, json or csv"
        )
    return _BY_SUFFIX[suffix]


def read_rows(source: str, format_: Format | None = None) -> Iterator[Row]:
    """Reads an input file, or standard input for "-", row by row. Empty lines are passed over.

    Raises:
        RecordError: at once where the file is not there; while reading where it is broken beyond single rows.
    """
    kind = format_of(source, format_)
    if source != "-" and not Path(source).exists():
        raise RecordError(f"cannot read {source}: there is no such file")
    return _rows(source, kind)


def _rows(source: str, kind: Format) -> Iterator[Row]:
    name = "standard input" if source == "-" else source
    with _open(source) as stream:
        if kind == "csv":
            yield from _csv_rows(stream, name)
        elif kind == "json":
            yield from _json_rows(stream, name)
        else:
            yield from _json_lines(stream, name)


@contextmanager
def _open(source: str) -> Iterator[IO[bytes]]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(source).open("rb") as file:
            yield file
    except OSError as error:
        raise RecordError(f"cannot read {source}: {error.strerror}") from error


def _json_lines(stream: IO[bytes], name: str) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        if line.strip():
            yield _json_line(line.removeprefix(b"\xef\xbb\xbf"), number, f"{name}, line {number}")


def _json_line(line: bytes, number: int, where: str) -> Row:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        problem = f"not UTF-8 ({error})" if isinstance(error, UnicodeDecodeError) else f"not JSON ({error})"
    else:
        if isinstance(record, dict):
            return Row(where, record)
        problem = f"not an object with fields but {type(record).__name__}"
    saved = {"line": number, "input": line.decode("utf-8", errors="replace").rstrip("\r\n")}
    return Row(where, saved, RecordError(f"{problem}: write one JSON object a line"))


def _json_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    text = stream.read()
    if text.lstrip().startswith(b"{"):  # JSON lines under another name are common
        yield from _json_lines(io.BytesIO(text), name)
        return
    try:
        records = json.loads(text.decode("utf-8-sig"))
    except ValueError as error:
        raise RecordError(f"{name} is not JSON ({error}): write an array of objects, or JSON lines") from error
    if not isinstance(records, list):
        raise RecordError(f"{name} holds {type(records).__name__}: write an array of objects, or JSON lines")
    for number, record in enumerate(records, start=1):
        where = f"{name}, record {number}"
        if isinstance(record, dict):
            yield Row(where, record)
        else:
            problem = RecordError(f"not an object with fields but {type(record).__name__}")
            yield Row(where, {"line": number, "input": record}, problem)


def _csv_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
    try:
        if not reader.fieldnames:
            raise RecordError(f"{name} is empty: the first line of a CSV file names the fields")
        for record in reader:
            where = f"{name}, line {reader.line_num}"
            if None in record or None in record.values():
                cells = [cell for cell in record.values() if isinstance(cell, str)] + list(record.get(None) or [])
                problem = RecordError(f"{len(cells)} cells in a table of {len(reader.fieldnames)} columns")
                yield Row(where, {"line": reader.line_num, "input": cells}, problem)
            else:
                yield Row(where, dict(record))
    except (csv.Error, UnicodeDecodeError) as error:
        raise RecordError(f"{name}, near line {reader.line_num}: not CSV in UTF-8 ({error})") from error
