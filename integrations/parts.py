"""Cuts large inputs into parts that can be graded apart, and reads one of them."""

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.records import Row, Source, format_of, read_rows
from lager_onnx.runtime.records.json_rows import json_lines
from lager_onnx.runtime.records.parquet_rows import parquet_rows

_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class Part:
    """Some rows of a file.

    Attributes:
        number: of the part, from 0.
        path: of the file.
        start, stop: bytes of JSON lines; row groups of Parquet; 0 and 0 for a whole file of another kind.
        first: number of its first row in the file, from 1.
    """

    number: int
    path: str
    start: int = 0
    stop: int = 0
    first: int = 1

    def rows(self, source: Source) -> Iterator[Row]:
        """Its rows, read as `source` says.

        Raises:
            RecordError: the file cannot be read.
        """
        own = Source(**{**asdict(source), "path": self.path})
        if self.stop == self.start:
            return read_rows(own)
        path = Path(self.path)
        if format_of(own) == "parquet":
            return parquet_rows(_reader(path.read_bytes()), own, range(self.start, self.stop), first=self.first)
        with path.open("rb") as file:
            file.seek(self.start)
            return json_lines(_reader(file.read(self.stop - self.start)), own, first=self.first)

    def as_row(self) -> dict[str, Any]:
        """For engines that carry plain rows."""
        return asdict(self)


def parts_of(source: Source, rows: int) -> list[Part]:
    """Parts of a file, or of all files of a folder in the order of their names.

    JSON lines that are not packed are cut behind every `rows` lines, Parquet between row groups into at least so many
    rows; a file of another kind is one part.

    Raises:
        RecordError: there is nothing by that name, or no file in the folder.
    """
    path = Path(source.path)
    files = _files(path) if path.is_dir() else [path]
    if not files or not path.exists():
        raise RecordError(f"cannot read {source.name}: there is no such file, or none in it")
    found: list[Part] = []
    for file in files:
        own = Source(**{**asdict(source), "path": str(file)})
        kind = format_of(own)
        if kind == "parquet":
            cuts = _row_groups(file, rows)
        elif kind == "jsonl" and file.suffix != ".gz" and not source.encoding:
            cuts = _lines(file, rows)
        else:
            cuts = [(0, 0, 1)]
        found += [Part(len(found) + index, str(file.absolute()), *cut) for index, cut in enumerate(cuts)]
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith((".", "_")))


def _lines(file: Path, rows: int) -> list[tuple[int, int, int]]:
    """Where parts of so many lines begin and end, and the number of their first line."""
    starts, lines, offset = [(0, 1)], 0, 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            at = -1
            while (at := block.find(b"\n", at + 1)) >= 0:
                lines += 1
                if lines % rows == 0:
                    starts.append((offset + at + 1, lines + 1))
            offset += len(block)
    if starts[-1][0] == offset and offset:
        starts.pop()
    ends = [start for start, _ in starts[1:]] + [offset]
    return [(start, end, first) for (start, first), end in zip(starts, ends, strict=True) if end > start]


def _row_groups(file: Path, rows: int) -> list[tuple[int, int, int]]:
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    about = ParquetFile(file).metadata
    cuts, start, first, held = [], 0, 1, 0
    for group in range(about.num_row_groups):
        held += about.row_group(group).num_rows
        if held >= rows or group == about.num_row_groups - 1:
            cuts.append((start, group + 1, first))
            start, first, held = group + 1, first + held, 0
    return cuts


def _reader(content: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(content))
