"""Layer logits of records, and the feedback before them, computed once for a judge and its records."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from lager_onnx.models.errors import RecordError, StoppedError
from lager_onnx.models.spec import GRAPH_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from lager_onnx.runtime.files import cannot_write
from lager_onnx.runtime.grade import Grade
from lager_onnx.runtime.jobs.loop import Result, grade_all
from lager_onnx.runtime.jobs.results import feedback_fields
from lager_onnx.runtime.judge import Judge
from lager_onnx.runtime.lock import try_lock
from lager_onnx.runtime.records.record import as_record

Array = npt.NDArray[np.float32]

_FEEDBACK: Final = ".feedback.jsonl"


class UngradableError(RecordError):
    """A record that cannot be graded, and its number, from 0."""

    def __init__(self, error: RecordError, number: int):
        super().__init__(error.problem, error.cure)
        self.number = number


def layer_logits(
    judge: Judge, records: Sequence[Mapping[str, Any]], folder: Path, *, batch_tokens: int | None = None
) -> Array:
    """Layer logits of records, (records, 2 (L + 1), K); those that were computed before are read from `folder`.

    They do not depend on the layer weights, so a tuned judge finds what was computed with the untuned one. Until all
    are there they stand in a file of another name, which an interrupted run leaves and the next one goes on with; a
    second run meanwhile computes its own. What the judge wrote before it graded stands beside them, in
    `feedback_path`.

    Raises:
        UngradableError: a record that cannot be graded; all before it are kept.
        OutputError: the folder cannot be written.
    """
    path = folder / f"{_key(judge, records)}.layer_logits"
    partial = path.with_suffix(".partial")
    shape = (len(judge.spec.rows), len(judge.spec.scale.values))
    row_bytes = 4 * shape[0] * shape[1]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and path.stat().st_size != len(records) * row_bytes:  # of a version that wrote in place
            path.replace(partial)
        if not path.exists():
            with _own_or_shared(partial) as file:
                with closing(_FeedbackFile(Path(f"{file.name}.feedback") if judge.reasoning else None)) as texts:
                    _fill(file, texts, judge, records, row_bytes, batch_tokens)
                    texts.move(path.with_suffix(_FEEDBACK))
                Path(file.name).replace(path)
        else:
            judge.report_unread(records)  # as grading does
        return np.fromfile(path, dtype="<f4").reshape(-1, *shape)
    except OSError as error:
        raise cannot_write(path, error) from error


def feedback_path(judge: Judge, records: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Where the JSON lines stand that say what a judge wrote for records, one each."""
    return folder / f"{_key(judge, records)}{_FEEDBACK}"


def _own_or_shared(partial: Path) -> IO[bytes]:
    """The file that an interrupted run has left, or a private one while another run is filling that."""
    file = partial.open("r+b" if partial.exists() else "w+b")
    if try_lock(file):
        return file
    file.close()
    return partial.with_suffix(f".{os.getpid()}").open("w+b")


class _FeedbackFile:
    """A JSON line of feedback for every record; nothing at all without a path."""

    def __init__(self, path: Path | None):
        self._path = path
        self._file = path.open("a+b") if path else None

    def keep(self, most: int) -> int:
        """Keeps the first whole lines, `most` at most; returns how many there are."""
        if self._file is None:
            return most
        self._file.seek(0)
        lines = [line for line in islice(self._file, most) if line.endswith(b"\n")]
        self._file.truncate(sum(map(len, lines)))
        return len(lines)

    def add(self, grade: Grade) -> None:
        """Adds what was written for the next record."""
        if self._file is not None:
            self._file.write(json.dumps(feedback_fields(grade), ensure_ascii=False).encode() + b"\n")

    def move(self, path: Path) -> None:
        """Gives the whole file its name."""
        if self._path is not None:
            self.close()
            self._path.replace(path)

    def close(self) -> None:
        """Writes what is left."""
        if self._file is not None:
            self._file.close()


def _fill(
    file: IO[bytes],
    texts: _FeedbackFile,
    judge: Judge,
    records: Sequence[Mapping[str, Any]],
    row_bytes: int,
    batch_tokens: int | None,
) -> None:
    done = texts.keep(min(file.seek(0, os.SEEK_END) // row_bytes, len(records)))
    file.truncate(done * row_bytes)  # what a killed run wrote by half
    file.seek(0, os.SEEK_END)

    def write(number: int, grade: Result) -> None:
        if isinstance(grade, RecordError):
            raise UngradableError(grade, number) from grade
        texts.add(grade)
        file.write(np.ascontiguousarray(grade.layer_logits, dtype="<f4").tobytes())

    try:
        grade_all(
            judge, records[done:], write, done=done, total=len(records), batch_tokens=batch_tokens,
            stopped=StoppedError("stopped. What was graded is kept, and the next run goes on from there"),
        )  # fmt: skip
    finally:
        file.flush()


def _key(judge: Judge, records: Sequence[Mapping[str, Any]]) -> str:
    spec = judge.spec
    weights = spec.checksums.get(WEIGHTS_FILE) or spec.checksums.get(GRAPH_FILE)
    key = hashlib.sha256()
    about: list[Any] = [weights, spec.checksums.get(TOKENIZER_FILE), spec.num_layers, spec.score_token_ids]
    about += [spec.template.text, spec.chat.before, spec.chat.after, spec.chat.answer_prefix, judge.provider]
    about += [asdict(judge.reasoning)] if judge.reasoning else []
    key.update(json.dumps(about).encode())
    for record in map(as_record, records):
        named = sorted(record.asked)  # decides how the fields are read
        said = json.dumps([dict(record), named] if named else dict(record), sort_keys=True, default=str)
        key.update(hashlib.sha256(said.encode()).digest())
    return key.hexdigest()[:32]
