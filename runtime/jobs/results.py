"""Results as JSON lines: how a row looks, and a file that survives interruption."""

import json
import math
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import OutputError, ReaderGoneError, RecordError
from lager_onnx.models.values import visible
from lager_onnx.runtime.files import cannot_write, check_output, shown
from lager_onnx.runtime.grade import Grade
from lager_onnx.runtime.lock import try_lock

START_ANEW: Final = Cure(command="start anew with --overwrite", python="start anew with overwrite=True")
_GO_ON: Final = Cure(
    command="go on with --resume, or start anew with --overwrite",
    python="go on with resume=True, or start anew with overwrite=True",
)

_MAKE_ROOM: Final = Cure(
    command="the rows before it are safe: make room and go on with --resume",
    python="the rows before it are safe: make room and go on with resume=True",
)


def result_fields(grade: Grade, *, details: bool) -> dict[str, Any]:
    """The fields that grading adds to a record."""
    fields: dict[str, Any] = {"choice": grade.choice, "confidence": grade.confidence} if grade.choices else {}
    fields |= {"score": grade.score, "probabilities": grade.probabilities}
    fields |= feedback_fields(grade)
    if details:
        fields |= {
            "vanilla": grade.vanilla,
            "expectation": grade.expectation,
            "layer_logits": grade.layer_logits.tolist(),
            "tokens": grade.tokens,
        }
    return fields


def feedback_fields(grade: Grade) -> dict[str, Any]:
    """What the judge wrote: `feedback`, `ended` and `named`, or several as `feedbacks`; nothing if it did not."""
    written = [{"feedback": each.text, "ended": each.ended, "named": each.named} for each in grade.feedback]
    return written[0] if len(written) == 1 else {"feedbacks": written} if written else {}


def join(record: Mapping[str, Any], fields: Mapping[str, Any], prefix: str | None) -> dict[str, Any]:
    """Return a record with the fields that grading adds, names led by `prefix`; None where no prefix can be given.

    Raises:
        RecordError: the record has such a field already, which would be lost.
    """
    added = {(prefix or "") + name: value for name, value in fields.items()}
    if clash := sorted(added.keys() & record.keys()):
        raise taken(clash[0], may_lead=prefix is not None)
    return {**record, **added}


def taken(name: str, *, may_lead: bool = True) -> RecordError:
    """Return the error of a record that already has a field that grading adds; `may_lead` if a prefix can be given."""
    problem = f"field {visible(name)!r} is in the record already and would be lost"
    if not may_lead:
        return RecordError(f"{problem}: rename it")
    return RecordError(
        problem,
        Cure(
            command="rename it, or lead the new fields by a prefix, such as --field-prefix lager_",
            python='rename it, or lead the new fields by a prefix, such as Options(field_prefix="lager_")',
        ),
    )


def strict_json(row: Any) -> str:
    """JSON as every program reads it: what is no finite number becomes null, what JSON does not know becomes text."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:  # slower, so only where it is needed
        return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


class ResultFile:
    """JSON lines, written to a file as they come, or to standard output.

    A run that is killed leaves whole lines and at most one broken one, which resuming cuts off. While it is open, no
    other run can write the same file.
    """

    def __init__(self, path: Path | None, *, resume: bool = False, overwrite: bool = False):
        self.path, self._resume = path, resume
        self._stream: IO[bytes] = sys.stdout.buffer
        if path is None:
            return
        check_output(path)
        try:
            if path.exists() and path.stat().st_size > 0 and not (resume or overwrite):
                raise OutputError(f"{shown(path)} exists already", _GO_ON)
            self._stream = path.open("ab")
            if not try_lock(self._stream):
                self._stream.close()
                raise OutputError(f"another run is writing {shown(path)}: wait for it, or give another name")
            if not resume and stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode):
                self._stream.truncate(0)
        except (OSError, ValueError) as error:
            raise cannot_write(path, error) from error

    def kept(self) -> Iterator[dict[str, Any]]:
        """The rows of an interrupted run, one after another; at the end, what follows the last whole one is cut off.

        Raises:
            OutputError: the file is not the output of a run.
        """
        if not self._resume or self.path is None:
            return
        end = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                yield self._row(line)
                end += len(line)
        self._stream.truncate(end)

    def _row(self, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise OutputError(
                f"{shown(self.path or '')} is not the output of an earlier run ({error})", START_ANEW
            ) from error
        if not isinstance(row, dict):
            raise OutputError(f"{shown(self.path or '')} is not the output of an earlier run", START_ANEW)
        return row

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes a row and hands it to the operating system, so that it outlives this process.

        Raises:
            OutputError: the disk is full, or the reader of a named pipe has gone.
            ReaderGoneError: the reader of standard output has gone.
        """
        text = strict_json(row)
        try:
            line = text.encode()
        except UnicodeEncodeError:  # half a surrogate pair can only be written as an escape
            line = "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text).encode()
        try:
            self._stream.write(line + b"\n")
            self._stream.flush()
        except OSError as error:
            if self.path is None and isinstance(error, BrokenPipeError):
                raise ReaderGoneError from error
            raise cannot_write(self.path, error, _MAKE_ROOM if self.path else None) from error

    def __enter__(self) -> "ResultFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.path:
            try:
                self._stream.close()
            except OSError as error:  # a full disk refuses what is still in the buffer, as write() has said
                if value is None:
                    raise cannot_write(self.path, error) from error
