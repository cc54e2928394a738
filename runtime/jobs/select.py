"""Keeps the best of a set of records: graded under several criteria, ordered by the mean score."""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import OutputError, RecordError, StoppedError, TemplateError
from lager_onnx.runtime.files import shown
from lager_onnx.runtime.jobs.loop import Result, grade_all, other_score
from lager_onnx.runtime.jobs.results import START_ANEW, ResultFile, strict_json
from lager_onnx.runtime.judge import Judge
from lager_onnx.runtime.records import Row, as_judged, as_record

Scores = dict[str, float]
_GO_ON: Final = Cure(command="go on with --resume", python="go on with resume=True")
_RUBRIC_FIELDS = ("criterion", "rubric", "score_descriptions")


@dataclass(frozen=True)
class Graded:
    """A record with its scores by criterion, and what was wrong with it where it has not all of them."""

    record: Mapping[str, Any]
    scores: Scores
    error: str | None = None

    @property
    def mean(self) -> float:
        """Mean score over the criteria."""
        return math.fsum(self.scores.values()) / len(self.scores)


def how_many(keep: str, records: int) -> int:
    """Reads "10%" (rounded up) or "500".

    Raises:
        OutputError: neither, or more than there are.
    """
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)(%?)", keep.strip())
    if match is None:
        raise OutputError(f"cannot keep {shown(keep)[:40]!r}: write a share such as 10%, or a number of records")
    number = math.ceil(float(match[1]) * records / 100 - 1e-9) if match[2] else float(match[1])
    if number != int(number) or not 0 < number <= records:
        raise OutputError(f"cannot keep {keep} of {records} records: between 1 and all can be kept")
    return int(number)


def grade_under_criteria(
    judge: Judge,
    rows: Sequence[Row],
    criteria: Sequence[str],
    results: ResultFile,
    *,
    on_error: Literal["stop", "skip"] = "stop",
    batch_tokens: int | None = None,
    fields: Mapping[str, str] | None = None,
) -> list[Graded]:
    """Grades every record under every criterion.

    Each grade is a line of `results` (number of the record, digest of its text, criterion, score or error) as it comes;
    those that an interrupted run has written there are not computed again.

    Raises:
        RecordError: a record that cannot be graded, unless `on_error` is "skip".
        TemplateError: the judge's template reads no criterion: all grades of a record would be the same.
        OutputError: the results are of another judge, of other criteria, or of records that have changed since.
    """
    template = judge.spec.template
    if not {"rubric", "criterion"} & template.fields:
        raise TemplateError(
            f"template {template.name!r} has no {{rubric}}, so every criterion would give the same grade",
            Cure(
                command="choose a judge whose template has it; lager export --template says which",
                python="choose a judge whose template has it; export_judge(template=...) says which",
            ),
        )
    pairs = [(number, criterion) for number in range(len(rows)) for criterion in criteria]
    texts = [_text(row, fields) for row in rows]
    lines = list(_kept(results, pairs))
    _check_same_texts(rows, texts, lines, results)
    _check_same_judge(judge, rows, lines, results, fields)
    left = pairs[len(lines) :]

    def write(number: int, grade: Result) -> None:
        row, criterion = pairs[number]
        if isinstance(grade, RecordError) and on_error == "stop":
            raise grade.at(rows[row].where) from grade
        line: dict[str, Any] = {"record": row, "text": texts[row], "criterion": criterion}
        line |= {"error": grade.told("command")} if isinstance(grade, RecordError) else {"score": grade.score}
        results.write(line)
        lines.append(line)

    grade_all(
        judge,
        (_under(rows[number], criterion, fields, template.fields) for number, criterion in left),
        write,
        done=len(lines),
        stopped=StoppedError("stopped. All grades so far are written", _GO_ON),
        total=len(pairs),
        unit=" grades",
        batch_tokens=batch_tokens,
        stop_at_error=on_error == "stop",
    )
    return [_graded(row, lines[n * len(criteria) : (n + 1) * len(criteria)]) for n, row in enumerate(rows)]


def best(graded: Sequence[Graded], keep: int) -> list[Graded]:
    """The `keep` records with the highest mean score, in their own order; of equals those that come first.

    Raises:
        OutputError: fewer records have a score under every criterion.
    """
    whole = [number for number, each in enumerate(graded) if not each.error]
    if len(whole) < keep:
        raise OutputError(f"{keep} records are to be kept, but only {len(whole)} have a score under every criterion")
    chosen = sorted(whole, key=lambda number: (-graded[number].mean, number))[:keep]
    return [graded[number] for number in sorted(chosen)]


def _under(row: Row, criterion: str, fields: Mapping[str, str] | None, reads: Collection[str]) -> Any:
    """What the judge sees of a row under a criterion, its own put aside; the error of one that is not read."""
    if row.error:
        return row.error
    try:
        record = as_record(row.record, fields)
        if as_judged(record, reads=reads).layout == "prompt":
            return RecordError("the record's prompt is finished, so it would get the same grade under every criterion")
    except RecordError as error:
        return error
    if record.has("choices") or (record.has("levels") and record.has("question")):
        return RecordError("the record asks a question of its own, which no criterion changes: take 'question' out")
    return record.without(*_RUBRIC_FIELDS).with_fields(criterion=criterion)


def _text(row: Row, fields: Mapping[str, str] | None) -> str:
    """Return a digest of what a row gives the judge to read, 16 hexadecimal digits; its own criterion is not read."""
    try:
        record = as_record(row.record, None if row.error else fields).without(*_RUBRIC_FIELDS)
        content = strict_json(sorted(record.items(), key=lambda item: str(item[0])))
    except RecordError as error:  # it has no grade, only this error
        content = error.problem
    return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _kept(results: ResultFile, pairs: Sequence[tuple[int, str]]) -> Iterator[dict[str, Any]]:
    expected = iter(pairs)
    for line in results.kept():
        whole = isinstance(line.get("score"), int | float) != isinstance(line.get("error"), str)
        if (line.get("record"), line.get("criterion")) != next(expected, None) or not whole:
            raise OutputError(f"{shown(results.path or '')} holds grades of other records or criteria", START_ANEW)
        yield line


def _check_same_texts(
    rows: Sequence[Row], texts: Sequence[str], lines: Sequence[dict[str, Any]], results: ResultFile
) -> None:
    for line in lines:
        number = line["record"]
        if line.get("text", texts[number]) != texts[number]:  # files of older releases have none
            raise OutputError(
                f"{shown(results.path or '')} holds grades of other records: {rows[number].where} has changed since "
                "it was graded",
                START_ANEW,
            )


def _check_same_judge(
    judge: Judge,
    rows: Sequence[Row],
    lines: Sequence[dict[str, Any]],
    results: ResultFile,
    fields: Mapping[str, str] | None,
) -> None:
    """Grade the last of the kept grades once more: another judge or another text would be mixed in unnoticed."""
    last = next((line for line in reversed(lines) if "score" in line), None)
    if last is None:
        return
    row = rows[last["record"]]
    now = other_score(judge, _under(row, last["criterion"], fields, judge.spec.template.fields), last["score"])
    if now is not None:
        raise OutputError(
            f"{shown(results.path or '')} holds grades of another judge or of other records: {row.where} scored "
            f"{last['score']:.4f} under {last['criterion']} then, {now} now",
            START_ANEW,
        )


def _graded(row: Row, lines: Sequence[dict[str, Any]]) -> Graded:
    errors = [f"{line['criterion']}: {line['error']}" for line in lines if "error" in line]
    scores = {line["criterion"]: float(line["score"]) for line in lines if "score" in line}
    return Graded(row.record, scores, errors[0] if errors else None)
