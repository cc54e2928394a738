"""How well a judge agrees with people, beside every baseline; and several judges, beside each other."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from lager_onnx.analysis.evaluation.agreement import Agreement, Seen, agreements, nothing_seen
from lager_onnx.analysis.evaluation.methods import Method, as_graded, best_layer, methods
from lager_onnx.analysis.labels.groups import Rows, group_name
from lager_onnx.analysis.labels.label import value_at
from lager_onnx.analysis.labels.labelled import Array, Labelled, labelled_logits
from lager_onnx.analysis.labels.overlap import Overlap, overlap_of, seen
from lager_onnx.analysis.labels.read import LabelledRecord, LabelledRecords, as_labelled
from lager_onnx.models.calibration import Calibration
from lager_onnx.models.cure import Notice
from lager_onnx.models.errors import LabelError
from lager_onnx.models.method import spearman
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.models.values import is_missing, names, visible
from lager_onnx.runtime.judge import Judge
from lager_onnx.runtime.records import as_record

logger = logging.getLogger(__name__)

JUDGE: Final = "LAGER as stored"
CALIBRATED: Final = "LAGER calibrated"
BY: Final = ("dataset", "criterion")


def evaluate(
    judge: Judge,
    records: LabelledRecords | Iterable[Mapping[str, Any]],
    *,
    label: str = "human_score",
    fields: Mapping[str, str] | None = None,
    by: str | Sequence[str] = BY,
    ablations: bool = False,
    resamples: int = 1000,
) -> list[Agreement]:
    """Compares a judge with labels, beside every baseline, all of them read from the same layer logits.

        evaluate(Judge.load("judges/smollm2"), [{"instruction": ..., "response": ..., "human_score": 4}, ...])

    Args:
        judge: the judge; its layer logits are kept in the cache folder.
        records: with a label each: a list, a pandas DataFrame or a `datasets.Dataset`. Those of one `group`, or of the
            same instruction and response, belong together.
        label: the field that holds it.
        fields: which field of a record is read as what, as `Judge.score` takes them.
        by: fields by whose values the records are split, one or several; a dotted name goes into an object.
        ablations: add all combinations of max, expectation, logits and probabilities.
        resamples: of the bootstrap behind the intervals, which draws whole groups.

    Returns:
        One agreement a part and method, the judge's being called `LAGER as stored`. Where the judge was tuned on some
        of the records, `seen` says how many, and a warning is logged.

    Raises:
        LabelError: a label is missing, no number, or out of the judge's scale.
        RecordError: a record that cannot be graded.
    """
    rows = as_labelled(records, judge.spec.scale, field=label, fields=fields).rows
    stored = np.asarray(judge.spec.layer_weights)
    return beside_baselines(
        labelled_logits(judge, rows), [row.group for row in rows], stored, _parts(rows, by),
        calibration=judge.spec.calibration, ablations=ablations, resamples=resamples,
        seen=_seen(dict.fromkeys((JUDGE, CALIBRATED), judge.spec), rows),
    )  # fmt: skip


def compare(
    judges: Iterable[tuple[str, Judge]],
    records: LabelledRecords | Iterable[Mapping[str, Any]],
    *,
    label: str = "human_score",
    fields: Mapping[str, str] | None = None,
    by: str | Sequence[str] = BY,
    resamples: int = 1000,
) -> list[Agreement]:
    """Compares several judges, or one under several templates, with the same labels; intervals are paired.

    Args:
        judges: with what to call them, the one first that others are compared with. One is needed at a time.
        records: as for `evaluate`.
        label: the field that holds a label.
        fields: which field of a record is read as what, as `Judge.score` takes them.
        by: fields by whose values the records are split, one or several; a dotted name goes into an object.
        resamples: of the bootstrap.

    Returns:
        One agreement a part and judge.

    Raises:
        LabelError: as for `evaluate`; or the judges' scales differ.
        RecordError: a record that one of them cannot grade; says which.
    """
    found: dict[str, Method] = {}
    specs: dict[str, JudgeSpec] = {}
    rows: list[LabelledRecord] = []
    first: Labelled | None = None
    for name, judge in judges:
        labelled = as_labelled(records, judge.spec.scale, field=label, fields=fields)
        rows, records = labelled.rows, labelled
        data = labelled_logits(judge, rows)
        first = first or data
        if set(data.values) != set(first.values):
            raise LabelError(f"{name} grades on another scale than {next(iter(found))}: compare judges of one scale")
        specs[name] = judge.spec
        found[name] = as_graded(name, data, np.asarray(judge.spec.layer_weights), judge.spec.calibration)
    if first is None:
        raise LabelError("there is no judge to compare")
    return agreements(
        lambda chosen: [method.at(chosen) for method in found.values()], first, [row.group for row in rows],
        _parts(rows, by), leader=next(iter(found)), resamples=resamples, seen=_seen(specs, rows),
    )  # fmt: skip


def beside_baselines(
    data: Labelled,
    groups: Sequence[str],
    stored: Array,
    parts: Mapping[str, Sequence[str]],
    *,
    calibration: Calibration | None = None,
    ablations: bool = False,
    resamples: int = 1000,
    seen: Seen = nothing_seen,
) -> list[Agreement]:
    """The same as `evaluate`, of layer logits.

    Args:
        data: layer logits and labels.
        groups: of every record.
        stored: the judge's layer weights, (2 (L + 1),).
        parts: for each field to split by, its value in every record.
        calibration: the judge's, if it has one.
        ablations: see `methods`.
        resamples: of the bootstrap.
        seen: see `agreements`.
    """

    def read(chosen: Rows) -> list[Method]:
        some = data.at(chosen)
        return [*methods(some, stored, calibration, ablations=ablations), best_layer(some, spearman)]

    return agreements(read, data, groups, parts, leader=JUDGE, resamples=resamples, seen=seen)


def _seen(specs: Mapping[str, JudgeSpec], rows: Sequence[LabelledRecord]) -> Seen:
    """Return how many of some records each method was tuned on, as a function; log a warning for any."""
    known, groups = {name: seen(spec, rows) for name, spec in specs.items()}, [row.group for row in rows]

    def of(name: str, rows: Rows) -> Overlap | None:
        if name not in known or not known[name][rows].any():
            return None
        return overlap_of(specs[name], [groups[row] for row in rows], known[name][rows])

    every = np.arange(len(groups))
    for name in specs:
        if name != CALIBRATED and (found := of(name, every)):
            logger.warning("%s", found.describe(name))
    return of


def _parts(rows: Sequence[LabelledRecord], by: str | Sequence[str]) -> dict[str, list[str]]:
    """Return the values by which records are split; records without a value form one part, whose value is "".

    Fields that were asked for and that no record has are logged.
    """
    fields = (by,) if isinstance(by, str) else tuple(by)
    every = [as_record(row.record).everything for row in rows]
    found = {field: [value_at(record, field) for record in every] for field in fields}
    for field, values in found.items():
        if fields != BY and all(is_missing(value) for value in values):
            logger.warning(
                Notice(
                    f"no record has the field {visible(field)!r}, by which they were to be split; the first has "
                    f"{names(every[0])}"
                )
            )
    return {field: [group_name(value) or "" for value in values] for field, values in found.items()}
