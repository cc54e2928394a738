"""An evaluation as text, JSON or CSV."""

import csv
import io
import json
import math
from collections.abc import Sequence
from itertools import groupby

from lager_onnx.analysis.evaluation.agreement import FIGURES, Agreement
from lager_onnx.analysis.evaluation.metrics import LEAST_GROUPS, Interval
from lager_onnx.models.values import visible

_NAME, _WIDTH = 40, 22  # characters of a method's name, and of a figure


def as_text(agreements: Sequence[Agreement]) -> str:
    """A table a part, for the terminal."""
    blocks = []
    for part, rows in groupby(agreements, key=lambda agreement: agreement.part):
        lines: list[str] = []
        for row in rows:
            if not lines:
                heading = f"{visible(part)}, {row.records} records"
                if row.groups < LEAST_GROUPS:
                    heading += f", {row.groups} groups"
                lines = [
                    f"{heading:{_NAME}s}" + "".join(f"{name:{_WIDTH}s}" for name in FIGURES) + f"{'distinct':10s}lead"
                ]
            cells = "".join(f"{_short(row.figures[name]):{_WIDTH}s}" for name in FIGURES)
            lead = _short(row.lead) if row.lead else ""
            lines.append(f"  {row.method:{_NAME - 2}s}{cells}{row.distinct:<10d}{lead}".rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, *notes(agreements)])


def notes(agreements: Sequence[Agreement]) -> list[str]:
    """Return notes on the figures: which are of records seen before, and which are missing."""
    of_all = [row for row in agreements if row.part == "all"]
    found = [f"WARNING: {row.seen.describe(row.method)}." for row in of_all if row.seen]
    if any(row.groups < LEAST_GROUPS for row in agreements):
        found.append(f"No intervals where there are fewer than {LEAST_GROUPS} groups: label more responses.")
    if any(not math.isfinite(figure.value) for row in agreements for figure in row.figures.values()):
        found.append("none: the figure does not exist, since all scores or all labels are the same.")
    return found


def as_json(agreements: Sequence[Agreement]) -> str:
    """A list of objects, one a part and method; figures are objects with value, low, high, null where there is none."""
    return json.dumps([_plain(agreement) for agreement in agreements], indent=2)


def as_csv(agreements: Sequence[Agreement], delimiter: str = ",") -> str:
    """One line a part and method, with the delimiter between values; missing figures are empty."""
    file = io.StringIO()
    names = [f"{name}{end}" for name in (*FIGURES, "lead") for end in ("", "_low", "_high")]
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["part", "records", "groups", "method", "distinct", "seen", *names])
    for row in agreements:
        numbers: list[float | None] = []
        for interval in (*(row.figures[name] for name in FIGURES), row.lead):
            numbers += _numbers(interval).values() if interval else [None] * 3
        writer.writerow([visible(row.part), row.records, row.groups, row.method, row.distinct, _seen(row), *numbers])
    return file.getvalue()


def _short(interval: Interval) -> str:
    if not math.isfinite(interval.value):
        return "none"
    return f"{interval.value:.3f}" + (f" [{interval.low:.3f},{interval.high:.3f}]" if interval.known else "")


def _plain(row: Agreement) -> dict[str, object]:
    return {
        "part": row.part,
        "records": row.records,
        "groups": row.groups,
        "method": row.method,
        "distinct": row.distinct,
        "seen": _seen(row),
        "seen_groups": row.seen.groups if row.seen else 0,
        **{name: _numbers(row.figures[name]) for name in FIGURES},
        "lead": _numbers(row.lead) if row.lead else None,
    }


def _seen(row: Agreement) -> int:
    """How many of the records the method was tuned or calibrated on."""
    return row.seen.records if row.seen else 0


def _numbers(interval: Interval) -> dict[str, float | None]:
    numbers = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: None if number != number else number for name, number in numbers.items()}  # noqa: PLR0124 - NaN
