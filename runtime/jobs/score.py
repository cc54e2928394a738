"""Grades a file: rows in, results out, in order, resumable."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import tee
from typing import Any, Literal

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import OutputError, RecordError, StoppedError
from lager_onnx.runtime.files import shown
from lager_onnx.runtime.grade import Grade
from lager_onnx.runtime.jobs.loop import Result, grade_all, other_score
from lager_onnx.runtime.jobs.results import START_ANEW, ResultFile, join, result_fields, strict_json, taken
from lager_onnx.runtime.judge import Judge
from lager_onnx.runtime.records import Row, as_record
from lager_onnx.runtime.records.record import with_criterion


@dataclass
class Summary:
    """What a run did."""

    graded: int = 0
    failed: int = 0
    resumed: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def describe(self, provider: str) -> str:
        """One line for the end of a run."""
        before = f" after {self.resumed} earlier ones" if self.resumed else ""
        if not self.graded + self.failed:
            return f"nothing left to grade{before} (provider: {provider})"
        failed = f", {self.failed} with an error" if self.failed else ""
        rate = f"{self.graded / self.seconds:.1f} responses/s, {self.tokens / self.seconds:.0f} tokens/s"
        return f"{self.graded} responses graded{before}{failed} on {provider} in {self.seconds:.1f} s ({rate})"


@dataclass(frozen=True)
class Options:
    """How a file is graded; the flags of `lager score`."""

    criterion: str | None = None
    details: bool = False
    on_error: Literal["stop", "skip"] = "stop"
    field_prefix: str = ""
    batch_tokens: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


def grade_rows(
    judge: Judge, rows: Iterable[Row], results: ResultFile, options: Options, *, total: int | None = None
) -> Summary:
    """Grades rows and writes one result a row, in order; with results of an earlier run, goes on after them.

    Args:
        judge: that grades.
        rows: of the input, from its beginning.
        results: to write.
        options: how rows are graded.
        total: number of rows, if it is known, for the progress bar.

    Raises:
        RecordError: a row that cannot be graded (unless `on_error` is "skip"); all rows before it are written.
        OutputError: results cannot be written, or those to go on from belong to another run.
        StoppedError: Ctrl-C; all rows that were graded are written.
    """
    remaining = iter(rows)
    summary = Summary(resumed=_skip_done(judge, remaining, results, options))
    start = time.perf_counter()
    for_records, for_results = tee(remaining)

    def write(_number: int, grade: Result) -> str:
        row = next(for_results)
        result, error = _result(row, grade, options)
        if error and options.on_error == "stop":
            raise error.at(row.where) from error
        results.write(result)
        if isinstance(grade, Grade) and not error:
            summary.graded += 1
            summary.tokens += grade.tokens
        else:
            summary.failed += 1
        summary.seconds = time.perf_counter() - start
        return f"{summary.tokens / summary.seconds:.0f} tokens/s"

    go_on = Cure(command=f"go on with --resume -o {shown(results.path or '')}", python="go on with resume=True")
    grade_all(
        judge,
        (_record(row, options) for row in for_records),
        write,
        done=summary.resumed,
        total=total,
        stopped=StoppedError("stopped. All rows that were graded so far are written", go_on if results.path else None),
        batch_tokens=options.batch_tokens,
        stop_at_error=options.on_error == "stop",
    )
    return summary


def _record(row: Row, options: Options) -> Any:
    """What the judge sees of a row: an error in the place of one that cannot be read."""
    if row.error:
        return row.error
    try:
        return with_criterion(as_record(row.record, options.fields), options.criterion)
    except RecordError as error:
        return error


def _result(row: Row, grade: Grade | RecordError, options: Options) -> tuple[dict[str, Any], RecordError | None]:
    error_field = f"{options.field_prefix}error"
    if error_field in row.record:  # not an error of the row's own: there would be no place for one
        raise taken(error_field).at(row.where)
    if isinstance(grade, RecordError):
        error = grade
    else:
        try:
            return join(row.record, result_fields(grade, details=options.details), options.field_prefix), None
        except RecordError as clash:
            error = clash
    return {**row.record, error_field: error.told("command")}, error


def _carries(result: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a result holds all of a record, compared as they are written."""
    return all(name in result and strict_json(result[name]) == strict_json(value) for name, value in record.items())


def _skip_done(judge: Judge, rows: Iterator[Row], results: ResultFile, options: Options) -> int:
    """Passes over the rows whose results are there, and makes sure that they came of this input and this judge."""
    last: tuple[Row, float] | None = None
    number = 0
    for number, result in enumerate(results.kept(), start=1):
        row = next(rows, None)
        if row is None or not _carries(result, row.record):
            where = row.where if row else "the end of the input"
            raise OutputError(
                f"row {number} of {shown(results.path or '')} does not belong to {where}: another input?", START_ANEW
            )
        score = result.get(f"{options.field_prefix}score")
        if isinstance(score, int | float) and f"{options.field_prefix}error" not in result:
            last = row, float(score)
    if last:
        row, score = last
        if (now := other_score(judge, _record(row, options), score)) is not None:
            raise OutputError(
                f"{shown(results.path or '')} was made by another judge or with other flags: {row.where} scored "
                f"{score:.4f} then, {now} now",
                START_ANEW,
            )
    return number
