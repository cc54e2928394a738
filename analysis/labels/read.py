"""Reads what people said of responses."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final, Literal

from lager_onnx.analysis.labels.formats import DATA_FORMATS, LABEL_FIELDS, DataFormat
from lager_onnx.analysis.labels.groups import group_name
from lager_onnx.analysis.labels.label import ratings_of, value_at
from lager_onnx.models.cure import Cure, Interface
from lager_onnx.models.errors import LabelError, LagerError, RecordError
from lager_onnx.models.question import ASKING
from lager_onnx.models.scale import Scale
from lager_onnx.models.values import is_missing
from lager_onnx.runtime.records import Row, Source, as_record, read_rows
from lager_onnx.runtime.records.layouts import as_shown
from lager_onnx.runtime.records.record import with_criterion
from lager_onnx.runtime.records.tables import records_of

OnError = Literal["stop", "skip"]
LABEL: Final = "human_score"  # the field that holds the label by default
_SHOWN: Final = 10  # reasons in a message


@dataclass(frozen=True)
class LabelledRecord:
    """A record with its label.

    Attributes:
        where: file and line, for messages.
        record: its fields.
        label: in the units of the scale.
        group: what ties records together that must not be torn apart, such as those of one response.
    """

    where: str
    record: Mapping[str, Any]
    label: float
    group: str


@dataclass(frozen=True)
class LabelledRecords:
    """Labelled records of a file, and why others were left out: one error each, with file and line."""

    rows: list[LabelledRecord]
    left_out: list[LagerError]

    def __iter__(self) -> Iterator[LabelledRecord]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def describe(self, interface: Interface = "python") -> str:
        """Return how many were left out and why, with the cures of an interface; "" where none were."""
        if not self.left_out:
            return ""
        more = f"\n  and {len(self.left_out) - _SHOWN} more" if len(self.left_out) > _SHOWN else ""
        reasons = "\n  ".join(error.told(interface) for error in self.left_out[:_SHOWN])
        return f"{len(self.left_out)} left out:\n  {reasons}{more}"

    def none_left(self, problem: str) -> LabelError:
        """Return the error that no record is left, and why each was left out."""
        return LabelError(problem, Cure(command=self.describe("command"), python=self.describe("python")))


def read_labelled(
    source: str | Source,
    scale: Scale,
    *,
    data: DataFormat = "plain",
    field: str = LABEL,
    criterion: str | None = None,
    on_error: OnError = "stop",
) -> LabelledRecords:
    """Reads labelled records; those of the same `group`, or else of the same instruction and response, belong together.

    A record that has none of these, only fields of a user's own template, is a group of its own.

    Args:
        source: file, or "-" for standard input.
        scale: of the judge.
        data: form in which the records are published; see `formats`.
        field: that holds the label, a number or a list of numbers, or a dotted name such as `human_score.mean`;
            `human_score.*` takes the mean of all values of an object.
        criterion: for records that name neither criterion nor rubric.
        on_error: "stop" at a row without a usable label, or "skip" it.

    Raises:
        RecordError: a row that cannot be read, with "stop".
        LabelError: a label is missing, no number, or out of scale, with "stop"; there are no labelled rows.
    """
    if isinstance(source, str):
        source = Source(source)
    found = LabelledRecords([], [])
    for row in read_rows(source):
        for record in _records(row, data, field):
            try:
                if isinstance(record, LagerError):
                    raise record
                label_field = field if data == "plain" else LABEL
                found.rows.append(_labelled(row.where, record, label_field, scale, criterion, source.fields))
            except (LabelError, RecordError) as error:
                if on_error == "stop":
                    raise error.at(row.where) from error
                found.left_out.append(error.at(row.where))
    if not found.rows:
        raise found.none_left(f"{source.name} holds no labelled records")
    return found


def as_labelled(
    records: LabelledRecords | Iterable[Mapping[str, Any]],
    scale: Scale,
    *,
    field: str = LABEL,
    fields: Mapping[str, str] | None = None,
) -> LabelledRecords:
    """Labelled records that are in memory already, as `read_labelled` reads them from a file.

    Args:
        records: mappings with a label each, a pandas DataFrame or a `datasets.Dataset`; what was read is handed on.
        scale: of the judge.
        field: that holds the label.
        fields: which field of a record is read as what, as `Judge.score` takes them.

    Raises:
        RecordError: something that is no record.
        LabelError: a label is missing, no number, or out of scale; there are no records.
    """
    if isinstance(records, LabelledRecords):
        return records
    found = LabelledRecords([], [])
    for number, record in enumerate(records_of(records)):
        try:
            found.rows.append(_labelled(f"record {number}", record, field, scale, None, fields or {}))
        except (LabelError, RecordError) as error:
            raise error.at(f"record {number}") from error
    if not found.rows:
        raise LabelError("there are no labelled records")
    return found


def _records(row: Row, data: DataFormat, field: str) -> Iterator[Mapping[str, Any] | LagerError]:
    """The records that a row is, in its published form; an error in the place of what cannot be read."""
    if row.error:
        yield row.error
        return
    try:
        yield from DATA_FORMATS[data](_with_label(row.record, data, field))
    except LabelError as error:
        yield error


def _with_label(record: Mapping[str, Any], data: DataFormat, field: str) -> Mapping[str, Any]:
    """A record in a published form, with the label of a named field where that form has its own."""
    if data == "plain" or field == LABEL:
        return record
    if data not in LABEL_FIELDS:
        raise LabelError(f"field {field!r} cannot be the label of {data}'s records, each of which has several")
    return {**record, LABEL_FIELDS[data]: value_at(record, field)}


def _labelled(
    where: str,
    record: Mapping[str, Any],
    field: str,
    scale: Scale,
    criterion: str | None,
    fields: Mapping[str, str],
) -> LabelledRecord:
    judged = with_criterion(as_record(record, fields), criterion)
    every = judged.everything
    if isinstance(every.get(field), LabelError):
        raise every[field]
    ratings = ratings_of(every, field)
    for rating in ratings:
        if not min(scale.values) <= rating <= max(scale.values):
            raise LabelError(
                f"the label {rating:g} in field {field!r} is out of the judge's scale "
                f"{min(scale.values):g} to {max(scale.values):g}"
            )
    if asked := [name for name in ASKING if not is_missing(judged.get(name))]:
        raise LabelError(
            f"field '{asked[0]}' asks on another scale than the judge's, on which its label is: take it out"
        )
    group = group_name(every.get("group"))
    if group is None:
        group = "\0" + (_graded_text(as_shown(judged)) or where)  # so that it equals no name in a file
    return LabelledRecord(where, judged, fmean(ratings), group)


def _graded_text(record: Mapping[str, Any]) -> str:
    """What records of one response have in common; "" where only the fields of a user's own template are there."""
    texts = [record.get(name) for name in ("instruction", "response", "prompt")]
    return "\0".join(str(text) for text in texts if not is_missing(text))
