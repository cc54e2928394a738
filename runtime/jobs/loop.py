"""The one loop in which records are graded and results written, for every job."""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tqdm import tqdm

from lager_onnx.models.errors import RecordError, StoppedError
from lager_onnx.runtime.grade import Grade
from lager_onnx.runtime.judge import Judge

Result = Grade | RecordError
_SAME_SCORE: Final = 2e-3  # share of the scale's width by which a kept score may differ from a new one


def other_score(judge: Judge, record: Mapping[str, Any] | RecordError, kept: float) -> str | None:
    """Grade a record of an interrupted run once more; return what it scores now, None where that is the kept score."""
    again = next(judge.score_stream([record]))
    if not isinstance(again, Grade):
        return again.problem
    return f"{again.score:.4f}" if abs(again.score - kept) > _SAME_SCORE * judge.spec.scale.width else None


def grade_all(
    judge: Judge,
    records: Iterable[Mapping[str, Any] | RecordError],
    write: Callable[[int, Result], str | None],
    *,
    done: int,
    stopped: StoppedError,
    total: int | None = None,
    unit: str = " responses",
    batch_tokens: int | None = None,
    stop_at_error: bool = True,
) -> None:
    """Grades records and hands over every result as it comes, in order, under a progress bar.

    Args:
        judge: the judge.
        records: those that are left; an error in the place of one that cannot be read.
        write: is given a result and its number; returns what to show behind the bar, if anything. What it raises ends
            the run.
        done: how many an earlier run has graded; numbers go on from there.
        stopped: what is raised at Ctrl-C.
        total: how many there are in all, those done included, if it is known.
        unit: of the bar.
        batch_tokens: most tokens in a batch.
        stop_at_error: nothing behind a record that cannot be graded is started.

    Raises:
        StoppedError: Ctrl-C.
    """
    grades = judge.score_stream(records, batch_tokens=batch_tokens, fail_fast=stop_at_error)
    try:
        with tqdm(total=total, initial=done, unit=unit, disable=None, file=sys.stderr) as bar:
            for number, grade in enumerate(grades, start=done):
                shown = write(number, grade)
                bar.update()
                if shown:
                    bar.set_postfix_str(shown, refresh=False)
    except KeyboardInterrupt as error:
        raise stopped from error
