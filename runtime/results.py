"""Results as JSON lines: how a row looks, and a file that survives interruption."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lager_onnx.models.errors import OutputError, RecordError
from lager_onnx.runtime.grade import Grade


def result_fields(grade: Grade, *, details: bool) -> dict[str, Any]:
    """The fields that grading adds to a record."""
    fields: dict[str, Any] = {"score": grade.score, "probabilities": grade.probabilities}
    if details:
        fields |= {
            "vanilla": grade.vanilla,
            "expectation": grade.expectation,
            "layer_logits": grade.layer_logits.tolist(),
            "tokens": grade.tokens,
        }
    return fields


def join(record: Mapping[str, Any], fields: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A record with the fields that grading adds, their names led by `prefix`.

    Raises:
        RecordError: the record has such a field already, which would be lost.
    """
    added = {prefix + name: value for name, value in fields.items()}
    if clash := sorted(added.keys() & record.keys()):
        raise RecordError(taken(clash[0]))
    return {**record, **added}


def taken(name: str) -> str:
    """What is wrong with a record that has a field of ours."""
    return (
        f"field {name!r} is in the record already and would be lost: rename it, or lead the new fields "
        "by a prefix, such as --field-prefix lager_"
    )


class ResultFile:
    """JSON lines, written to a file as they come, or to standard output.

    A run that is killed leaves whole lines and at most one broken one, which `resume` cuts off.
    """

    def __init__(self, path: Path | None, *, resume: bool = False, overwrite: bool = False):
        self.path = path
        self.kept: list[dict[str, Any]] = []
        if path is None:
            self._stream = sys.stdout.buffer
            return
        exists = path.exists() and path.stat().st_size > 0
        if exists and not (resume or overwrite):
            raise OutputError(f"{path} exists already: go on with --resume, or start anew with --overwrite")
        try:
            if exists and resume:
                self.kept = list(_keep_whole_lines(path))
            self._stream = path.open("ab" if resume else "wb")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes a row and hands it to the operating system, so that it outlives this process.

        Raises:
            OutputError: the disk is full, or the reader of the pipe has gone.
        """
        try:
            line = json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # half a surrogate pair can only be written as an escape
            line = json.dumps(row).encode()
        try:
            self._stream.write(line + b"\n")
            self._stream.flush()
        except OSError as error:
            hint = "; the rows before it are safe: make room and go on with --resume" if self.path else ""
            raise OutputError(f"cannot write {self.path or 'standard output'}: {error.strerror}{hint}") from error

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
                    raise OutputError(f"cannot write {self.path}: {error.strerror}") from error


def _keep_whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an interrupted run; what follows the last whole one is cut off the file."""
    end = 0
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                row = json.loads(line)
            except ValueError as error:
                raise OutputError(f"{path} is not the output of an earlier run ({error}): use --overwrite") from error
            if not isinstance(row, dict):
                raise OutputError(f"{path} is not the output of an earlier run: use --overwrite")
            end += len(line)
            yield row
        file.truncate(end)
