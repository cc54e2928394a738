"""Records from CSV: strict quoting, a delimiter that is found or given, and bad rows that cost no others."""

import csv
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from typing import IO, Final

from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import names, visible
from lager_onnx.runtime.records.row import Row
from lager_onnx.runtime.records.source import Source, lines_of, not_in_encoding

_DELIMITERS: Final = (",", ";", "\t", "|")
# Fields that mean something here; a column of such a name in capitals, or with blanks round it, is that field.
KNOWN: Final = frozenset(
    (
        "instruction", "response", "criterion", "rubric", "reference", "context", "feedback", "prompt", "messages",
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
    first = lines.peek()
    delimiter = _given(source.delimiter) if source.delimiter else None
    if first.lower().startswith("sep=") and len(first.rstrip("\r\n")) == 5:  # what Excel writes and reads
        lines.take()
        delimiter = delimiter or first[4]
        first = lines.peek()
    if not first.strip():
        raise RecordError(f"{source.name} is empty: the first line of a CSV file names the fields")
    delimiter = delimiter or _delimiter(first)
    header = _cells(lines, delimiter, blanks=False)
    if isinstance(header, RecordError):
        raise RecordError(f"{source.name}, line 1, which names the fields: {header}")
    blanks = any(cell.startswith(" ") for cell in header)  # then cells begin behind a blank, quotes too
    fields = [_field(cell) for cell in header]
    if twice := [name for name, count in Counter(fields).items() if count > 1]:
        raise RecordError(f"{source.name} has the column {names(twice)} twice: rename one of them")
    while lines.peek():
        number = lines.number + 1
        where = f"{source.name}, line {number}"
        if not lines.peek().strip("\r\n"):
            lines.take()
            continue
        start = lines.peek()
        cells = _cells(lines, delimiter, blanks=blanks)
        if isinstance(cells, RecordError):
            yield Row(where, {"line": number, "input": _saved(start)}, cells)
        elif len(cells) != len(fields):
            problem = RecordError(f"{len(cells)} cells in a table of {len(fields)} columns")
            yield Row(where, {"line": number, "input": cells}, problem)
        else:
            yield Row(where, dict(zip(fields, cells, strict=True)))


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
    problem = None
    try:
        cells = next(reader)
    except csv.Error as error:
        problem = f"not CSV ({error}): a quote is not closed, or stands in the middle of a cell"
    else:
        problem = next((found for line in taken if (found := not_in_encoding(line))), None)
    if problem is None:
        return cells
    lines.put_back(taken[1:])
    return RecordError(problem)


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
        raise RecordError(f"--delimiter {visible(delimiter)}: give one character, or tab")
    return found


def _field(cell: str) -> str:
    """The field that a column is, whatever blanks or capitals its name has."""
    name = cell.strip()
    return name.lower() if name.lower() in KNOWN else name


def _saved(line: str) -> str:
    """What is kept of a broken row."""
    return line.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:_LONGEST_RECORD]
