"""An input as its user describes it, and its bytes."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Literal, cast

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import visible

Format = Literal["jsonl", "json", "csv", "parquet"]
_BY_SUFFIX: Final[dict[str, Format]] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"
}  # fmt: skip
_GZIP: Final = b"\x1f\x8b"
# Byte order marks, the longer one first where one begins like another.
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))

_PEEKED: Final = 4096  # bytes that tell an encoding
# Which bytes of four are NUL in text of wide characters.
_NULS: Final = {"0101": "utf-16-le", "1010": "utf-16-be", "0111": "utf-32-le", "1110": "utf-32-be"}


@dataclass(frozen=True)
class Source:
    """Where records are read from, and how.

    Attributes:
        path: of a file, or "-" for standard input.
        format: of the file; None to tell by its ending.
        encoding: of its text; None for UTF-8, or what its byte order mark says.
        delimiter: between the cells of a CSV file; None to find it.
        fields: which field of a record holds what the judge reads: {"response": "output"}.
    """

    path: str
    format: Format | None = None
    encoding: str | None = None
    delimiter: str | None = None
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For messages."""
        return "standard input" if self.path == "-" else visible(self.path)


def format_of(source: Source) -> Format:
    """The format of an input: as given, else by the file's ending, .gz passed over; JSON lines for standard input.

    Raises:
        RecordError: an unknown ending.
    """
    if source.format or source.path == "-":
        return source.format or "jsonl"
    path = Path(source.path)
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    if suffix.lower() not in _BY_SUFFIX:
        formats = ", ".join(dict.fromkeys(_BY_SUFFIX.values()))
        raise RecordError(
            f"cannot tell the format of {source.name} by its ending {visible(suffix)!r}",
            Cure(command=f"add --format {formats}", python=f"give Source a format: {formats}"),
        )
    return _BY_SUFFIX[suffix.lower()]


@contextmanager
def open_bytes(source: Source) -> Iterator[IO[bytes]]:
    """The bytes of an input, uncompressed.

    Raises:
        RecordError: it cannot be read, also later.
    """
    try:
        if source.path == "-":
            yield _unpacked(io.BufferedReader(cast(io.RawIOBase, sys.stdin.buffer)))
        else:
            with Path(source.path).open("rb") as file:
                yield _unpacked(file)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RecordError(f"cannot read {source.name}: {reason}") from error


def encoding_of(stream: IO[bytes], source: Source) -> str:
    """The encoding of a text, as given or by its mark, which is passed over.

    Raises:
        RecordError: no such encoding; or none is given, and the text is of 16 or 32 bits a character without a mark.
    """
    start = stream.peek(_PEEKED)[:_PEEKED]  # type: ignore[attr-defined]
    marked = next(((mark, encoding) for mark, encoding in _MARKS if start.startswith(mark)), None)
    encoding = source.encoding
    if marked is not None and (encoding is None or encoding.lower().replace("_", "-").startswith(marked[1][:6])):
        stream.read(len(marked[0]))
        encoding = marked[1]
    elif encoding is None and (wide := _wide(start)):
        raise RecordError(
            f"{source.name} is not UTF-8 but looks like {wide.upper()} without a byte order mark: it holds NUL bytes",
            Cure(command=f"add --encoding {wide}", python=f'give Source the encoding "{wide}"'),
        )
    try:
        "".encode(encoding or "utf-8")
    except LookupError as error:
        raise RecordError(f"there is no encoding {encoding!r}; try utf-8, utf-16, cp1252") from error
    return encoding or "utf-8"


def _wide(start: bytes) -> str | None:
    """Return the encoding whose characters of Latin script have NUL bytes where a text's beginning has them."""
    if len(start) < 4:
        return None
    empty = [start[place::4].count(0) * 4 > len(start) // 4 for place in range(4)]  # more than a quarter of them
    return _NULS.get("".join("01"[each] for each in empty))


def lines_of(stream: IO[bytes], source: Source) -> Iterator[str]:
    """Lines of a text with their ends; bytes that are not UTF-8 become lone surrogates (`surrogateescape`)."""
    encoding = encoding_of(stream, source)
    errors = "surrogateescape" if encoding in ("utf-8", "ascii") else "strict"
    with io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="") as text:
        yield from text


def not_in_encoding(text: str) -> RecordError | None:
    """What is wrong with a text of `lines_of`; None where it is of its encoding."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        return RecordError(
            f"not UTF-8 (byte 0x{byte:02x} at character {error.start})",
            Cure(command="add --encoding, such as cp1252", python='give Source an encoding, such as "cp1252"'),
        )
    return None


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    if stream.peek(2)[:2] == _GZIP:  # type: ignore[attr-defined]
        return io.BufferedReader(gzip.GzipFile(fileobj=stream))
    return stream
