"""Records from CSV: strict quoting, a delimiter that is found or given, and bad rows that cost no others.

Spreadsheets write empty columns and rows: a column without a name is passed over where it is empty, and so is a row of
nothing but delimiters. A first column without a name is carried through, as pandas writes its index so.
"""

import csv
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import IO, Final

from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import visible
from lager_onnx.runtime.records.row import Row
from lager_onnx.runtime.records.source import Source, lines_of, not_in_encoding
from lager_onnx.runtime.records.tables import refuse_twice

_DELIMITERS: Final = (",", ";", "\t", "|")
# Fields that mean something here; a column of such a name in capitals, or with blanks round it, is that field.
KNOWN: Final = frozenset(
    (
        "instruction", "response", "criterion", "rubric", "reference", "context", "prompt", "messages",
        "score_descriptions", "input", "output", "human_score", "group", "id",
    )
)  # fmt: skip
_LONGEST_RECORD: Final = 10_000  # lines; a quote that is not closed by then was never meant to be open
_NO_LIMIT: Final = 2**31 - 1


def csv_rows(stream: IO[bytes], source: Source) -> Iterator[Row]:
    """One record a row; the first line names the fields.

    Raises:
        RecordError: the file is empty, its first line cannot be read, or names a column twice.
    """
    csv.field_size_limit(_NO_LIMIT)
    lines = _Lines(lines_of(stream, source))
    delimiter = _given(source.delimiter) if source.delimiter else None
    first = lines.peek()
    if first.lower().startswith("sep=") and len(first.rstrip("\r\n")) == 5:  # what Excel writes and reads
        lines.take()
        delimiter = delimiter or first[4]
    lines.pass_empty(delimiter or "".join(_DELIMITERS))
    if not lines.peek():
        raise RecordError(f"{source.name} is empty: the first line of a CSV file names the fields")
    delimiter = delimiter or _delimiter(lines.peek())
    named = f"line {lines.number + 1}"
    header = _cells(lines, delimiter, blanks=False)
    if isinstance(header, RecordError):
        raise header.at(f"{source.name}, {named}, which names the fields")
    blanks = any(cell.startswith(" ") for cell in header)  # then cells begin behind a blank, quotes too
    fields = [_field(cell) for cell in header]
    refuse_twice([name for number, name in enumerate(fields) if name or not number], source.name)
    lines.pass_empty(delimiter)
    while lines.peek():
        number, start = lines.number + 1, lines.peek()
        where = f"{source.name}, line {number}"
        cells = _cells(lines, delimiter, blanks=blanks)
        if isinstance(cells, RecordError):
            yield Row(where, {"line": number, "input": _saved(start)}, cells)
        else:
            found = _record(fields, cells, named)
            yield (
                Row(where, {"line": number, "input": cells}, found)
                if isinstance(found, RecordError)
                else Row(where, found)
            )
        lines.pass_empty(delimiter)


class _Lines:
    """Lines that can be put back; `number` counts those that were taken."""

    def __init__(self, lines: Iterator[str]):
        self._rest, self._ahead = lines, deque[str]()
        self.number = 0

    def peek(self) -> str:
        """The next line; "" at the end."""
        if not self._ahead:
            self._ahead.extend(islice(self._rest, 1))
        return self._ahead[0] if self._ahead else ""

    def take(self) -> str:
        """The next line, which is then gone; "" at the end."""
        line = self.peek()
        if line:
            self._ahead.popleft()
            self.number += 1
        return line

    def pass_empty(self, delimiters: str) -> None:
        """Take all lines from here on that hold nothing but delimiters."""
        while (line := self.peek()) and not line.strip(delimiters + " \t\r\n"):
            self.take()

    def put_back(self, lines: list[str]) -> None:
        """Lets lines come again."""
        self._ahead.extendleft(reversed(lines))
        self.number -= len(lines)


def _cells(lines: _Lines, delimiter: str, *, blanks: bool) -> list[str] | RecordError:
    """Cells of the next record, which may take several lines; of one that is broken, only the first line is taken."""
    taken: list[str] = []

    def one_after_another() -> Iterator[str]:
        while len(taken) < _LONGEST_RECORD and (line := lines.take()):
            taken.append(line)
            yield line

    reader = csv.reader(one_after_another(), delimiter=delimiter, strict=True, skipinitialspace=blanks)
    problem: RecordError | None = None
    try:
        cells = next(reader)
    except csv.Error as error:
        problem = RecordError(f"not CSV ({error}): a quote is not closed, or is in the middle of a cell")
    else:
        problem = next((found for line in taken if (found := not_in_encoding(line))), None)
    if problem is None:
        return cells
    lines.put_back(taken[1:])
    return problem


def _record(fields: list[str], cells: list[str], named: str) -> dict[str, str] | RecordError:
    """Return the cells by field; empty ones without a name are passed over, wherever they are.

    Args:
        fields: names of the columns, "" for one without.
        cells: of a row.
        named: the line that names the fields, for messages.
    """
    columns = max((number for number, name in enumerate(fields, start=1) if name), default=1)
    spare = next((number for number, cell in enumerate(cells[len(fields) :]) if cell.strip()), None)
    if len(cells) < columns or spare is not None:
        return RecordError(f"{len(cells)} cells in a table of {len(fields)} columns")
    unnamed = [number for number, name in enumerate(fields) if number and not name]
    if full := [number for number in unnamed if number < len(cells) and cells[number].strip()]:
        return RecordError(f"column {full[0] + 1} has no name in {named}, and holds something here: name it")
    return {name: cell for number, (name, cell) in enumerate(zip(fields, cells, strict=False)) if name or not number}


def _delimiter(first: str) -> str:
    """What cuts the first line into the most fields that are known, or else into the most."""

    def merit(delimiter: str) -> tuple[int, int]:
        cells = next(csv.reader([first], delimiter=delimiter), [])
        return sum(_field(cell) in KNOWN for cell in cells), len(cells)

    return max(_DELIMITERS, key=merit)


def _given(delimiter: str) -> str:
    """A delimiter as its user writes it; `tab` or `\\t` for a tabulator."""
    found = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(found) != 1 or found in '\r\n"':
        raise RecordError(f"the delimiter {visible(delimiter)!r} is not one character: give one, or tab")
    return found


def _field(cell: str) -> str:
    """The field that a column is, whatever blanks or capitals its name has."""
    name = cell.strip()
    return name.lower() if name.lower() in KNOWN else name


def _saved(line: str) -> str:
    """What is kept of a broken row."""
    return line.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:_LONGEST_RECORD]
