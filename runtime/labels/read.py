"""Reads what people said of responses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lager_onnx.models.errors import LabelError
from lager_onnx.models.scale import Scale
from lager_onnx.runtime.labels.formats import DATA_FORMATS, DataFormat, label_of
from lager_onnx.runtime.records import Format, read_rows
from lager_onnx.runtime.run import with_criterion


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


def read_labelled(
    source: str,
    scale: Scale,
    *,
    data: DataFormat = "plain",
    field: str = "human_score",
    format_: Format | None = None,
    criterion: str | None = None,
) -> list[LabelledRecord]:
    """Reads labelled records; those of the same `group`, or else of the same instruction and response, belong together.

    Args:
        source: file, or "-" for standard input.
        scale: of the judge.
        data: form in which the records are published; see `formats`.
        field: that holds the label, a number or a list of numbers; of plain records.
        format_: of the file; by default its ending tells.
        criterion: for records that name neither criterion nor rubric.

    Raises:
        RecordError: a row that cannot be read.
        LabelError: a label is missing, no number, or out of scale; there are no rows.
    """
    rows = []
    for row in read_rows(source, format_):
        if row.error:
            raise type(row.error)(f"{row.where}: {row.error}") from row.error
        try:
            for record in DATA_FORMATS[data](row.record):
                rows.append(_labelled(row.where, record, field if data == "plain" else "human_score", scale, criterion))
        except LabelError as error:
            raise LabelError(f"{row.where}: {error}") from error
    if not rows:
        raise LabelError(f"{source} holds no records")
    return rows


def _labelled(where: str, record: Mapping[str, Any], field: str, scale: Scale, criterion: str | None) -> LabelledRecord:
    label = label_of(record, field)
    if not min(scale.values) <= label <= max(scale.values):
        raise LabelError(
            f"the label {label:g} in field {field!r} is out of the judge's scale "
            f"{min(scale.values):g} to {max(scale.values):g}"
        )
    group = record.get("group") or "\0".join(str(record.get(name)) for name in ("instruction", "response"))
    return LabelledRecord(where, with_criterion(record, criterion), label, str(group))
