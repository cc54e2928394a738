"""Find labelled records that a judge was tuned on: on them, its figures are too good."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lager_onnx.analysis.labels.read import LabelledRecord, LabelledRecords, as_labelled
from lager_onnx.models.learned_from import LearnedFrom, digest
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.judge import Judge
from lager_onnx.runtime.records.layouts import as_shown


@dataclass(frozen=True)
class Overlap:
    """How many of some records a judge was tuned or calibrated on.

    Attributes:
        records: those among them that it learned from, by their graded text; the criterion does not matter.
        of_records: how many there are.
        groups: that hold such a record.
        of_groups: how many there are.
        complete: whether the judge keeps the digests of all texts that it learned from; if not, there may be more.
    """

    records: int
    of_records: int
    groups: int
    of_groups: int
    complete: bool = True

    def describe(self, name: str = "the judge") -> str:
        """Return a warning; "" where there is nothing to warn of."""
        if not self.records:
            return ""
        least = "" if self.complete else "at least "
        return (
            f"{name} was tuned or calibrated on {least}{self.records} of these {self.of_records} records "
            f"({self.groups} of {self.of_groups} groups): its figures are better here than on records that it has not "
            "seen. Evaluate on others"
        )


def overlap(
    judge: Judge,
    records: LabelledRecords | Iterable[Mapping[str, Any]],
    *,
    label: str = "human_score",
    fields: Mapping[str, str] | None = None,
) -> Overlap:
    """Return how many of the records a judge was tuned or calibrated on.

    Args:
        judge: the judge.
        records: with a label each, as for `evaluate`.
        label: the field that holds it.
        fields: which field of a record is read as what, as `Judge.score` takes them.

    Raises:
        LabelError: as for `evaluate`.
    """
    rows = as_labelled(records, judge.spec.scale, field=label, fields=fields).rows
    return overlap_of(judge.spec, [row.group for row in rows], seen(judge.spec, rows))


def overlap_of(spec: JudgeSpec, groups: Sequence[str], of_records: npt.NDArray[np.bool_]) -> Overlap:
    """Return the same of records by their groups, and whether the judge was tuned on each."""
    found = {group for group, known in zip(groups, of_records, strict=True) if known}
    complete = spec.learned_from is None or spec.learned_from.complete
    return Overlap(int(of_records.sum()), len(groups), len(found), len(set(groups)), complete)


def seen(spec: JudgeSpec, rows: Sequence[LabelledRecord]) -> npt.NDArray[np.bool_]:
    """Return of every record whether the judge was tuned or calibrated on it, (records,)."""
    if spec.learned_from is None:
        return np.zeros(len(rows), bool)
    known = spec.learned_from.digests
    return np.array([digest(as_shown(row.record), spec.template) in known for row in rows], bool)


def learned_from(spec: JudgeSpec, rows: Sequence[LabelledRecord]) -> LearnedFrom:
    """Return what a judge that learns from these records keeps of them."""
    return LearnedFrom.of(digest(as_shown(row.record), spec.template) for row in rows)
