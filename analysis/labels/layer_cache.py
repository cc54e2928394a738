"""Layer logits of records, computed once for a judge and its records."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from lager_onnx.models.errors import RecordError
from lager_onnx.models.spec import GRAPH_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from lager_onnx.runtime.files import cannot_write
from lager_onnx.runtime.jobs.loop import Result, grade_all
from lager_onnx.runtime.judge import Judge
from lager_onnx.runtime.lock import try_lock

Array = npt.NDArray[np.float32]


class UngradableError(RecordError):
    """A record that cannot be graded, and its number, from 0."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


def layer_logits(
    judge: Judge, records: Sequence[Mapping[str, Any]], folder: Path, *, batch_tokens: int | None = None
) -> Array:
    """Layer logits of records, (records, 2 (L + 1), K); those that were computed before are read from `folder`.

    They do not depend on the layer weights, so a tuned judge finds what was computed with the untuned one. Until all
    are there they stand in a file of another name, which an interrupted run leaves and the next one goes on with; a
    second run meanwhile computes its own.

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
                _fill(file, judge, records, row_bytes, batch_tokens)
                Path(file.name).replace(path)
        return np.fromfile(path, dtype="<f4").reshape(-1, *shape)
    except OSError as error:
        raise cannot_write(path, error) from error


def _own_or_shared(partial: Path) -> IO[bytes]:
    """The file that an interrupted run has left, or a private one while another run is filling that."""
    file = partial.open("r+b" if partial.exists() else "w+b")
    if try_lock(file):
        return file
    file.close()
    return partial.with_suffix(f".{os.getpid()}").open("w+b")


def _fill(
    file: IO[bytes], judge: Judge, records: Sequence[Mapping[str, Any]], row_bytes: int, batch_tokens: int | None
) -> None:
    done = min(file.seek(0, os.SEEK_END) // row_bytes, len(records))
    file.truncate(done * row_bytes)  # what a killed run wrote by half
    file.seek(0, os.SEEK_END)

    def write(number: int, grade: Result) -> None:
        if isinstance(grade, RecordError):
            raise UngradableError(str(grade), number) from grade
        file.write(np.ascontiguousarray(grade.layer_logits, dtype="<f4").tobytes())

    try:
        grade_all(
            judge, records[done:], write, done=done, total=len(records), batch_tokens=batch_tokens,
            stopped="stopped. What was graded is kept, and the next run goes on from there",
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
    for record in records:
        key.update(hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).digest())
    return key.hexdigest()[:32]
