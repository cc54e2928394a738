"""The tables of docs/alignment.md, as Markdown: rows of a set's methods, or one row for every judge on every set."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from logits import Graded
from plan import JUDGES, SETS

from lager_onnx.analysis.evaluation.agreement import FIGURES
from lager_onnx.analysis.evaluation.methods import weighted
from lager_onnx.analysis.evaluation.metrics import Resamples
from lager_onnx.models.method import spearman

Found = Sequence[dict[str, Any]]
# Tables with one row for every judge on every set: a title, and what `figures` calls each column.
_ACROSS: Final = {
    "Tuned, left out, five folds": {
        "uniform": "uniform, Spearman",
        "`choose`": "tuned (choose), Spearman",
        "lead over uniform": "tuned (choose) less uniform",
        "chosen with all labels": "chosen with all labels",
        "`regularised`": "tuned (regularised), Spearman",
        "`paper`": "tuned (paper), Spearman",
    },
    "Cut at a depth, left out, five folds": {
        "all layers": "uniform, Spearman",
        "depth found on four folds": "tuned (up to a depth), Spearman",
        "lead over all": "tuned (up to a depth) less uniform",
        "depth with all labels": "depth found with all labels",
    },
    "Calibrated, left out, five folds": {
        "error of scores": "mean absolute error, uniform",
        "calibrated": "mean absolute error, calibrated",
        "of the labels' median": "mean absolute error, the labels' median",
        "calibration error of scores": "calibration error, uniform",
        "calibration error, calibrated": "calibration error, calibrated",
    },
}


def tables(found: Found) -> Iterator[str]:
    """All tables of what `figures` found, in the order of the plan."""
    ordered = sorted(found, key=lambda each: (list(SETS).index(each["data"]), size_of(each["judge"])))
    for data in dict.fromkeys(each["data"] for each in ordered):
        judges = [each for each in ordered if each["data"] == data]
        names, first = [each["judge"] for each in judges], judges[0]
        yield f"## {data}, `{first['prompt']}`, {first['records']} records, {first['groups']} groups\n"
        for title, part in (("Spearman (95% interval)", "agreement"), ("F1 of the unanswerable", "F1")):
            if part in first:
                rows = {row: [each[part].get(row, "") for each in judges] for row in first[part]}
                yield from table([title, *names], rows)
    cells = {f"{each['data']}, {each['judge']}": each for each in ordered}
    for title, columns in _ACROSS.items():
        yield f"## {title}\n"
        rows = {name: [each["left out"][column] for column in columns.values()] for name, each in cells.items()}
        yield from table(["set, judge", *columns], rows)
    yield "## With so many labels, Spearman left out: mean of five ways to draw them (smallest to largest)\n"
    curves = {f"{name}, {size}": cell for name, each in cells.items() for size, cell in each["few labels"].items()}
    recipes = list(next(iter(curves.values()), {}))
    yield from table(["set, judge, labels", *recipes], {name: list(cell.values()) for name, cell in curves.items()})
    yield from _mean_leads(ordered)


def _mean_leads(found: Found) -> Iterator[str]:
    for size in dict.fromkeys(size for each in found for size in each["few labels"]):
        cells = [each["few labels"][size] for each in found if size in each["few labels"]]
        leads = [float(cell["choose"].split()[0]) - float(cell["uniform"].split()[0]) for cell in cells]
        mean, least = np.mean(leads), min(leads)
        yield f"`choose` with {size} labels leads uniform by {mean:.3f}, by {least:.3f} at least, {len(leads)} cells."
    yield ""


def precision_tables(graded: Sequence[Graded], in_float32: Sequence[Graded]) -> Iterator[str]:
    """Judges in float32 beside the same in int8, on the same records."""
    columns = ["set, judge", "float32", "int8", "of the two with each other", "apart, of the scale", "records"]
    rows = {}
    for wide in sorted(in_float32, key=lambda each: size_of(each.judge)):
        narrow = next((each for each in graded if (each.data, each.judge) == (wide.data, _int8(wide.judge))), None)
        if narrow:
            rows[f"{wide.data}, {wide.judge}"] = _precisions(wide, narrow.of_groups(set(wide.groups)))
    yield "## int8 beside float32, the same records\n"
    yield from table(columns, rows)


def _precisions(wide: Graded, narrow: Graded) -> list[str]:
    resamples = Resamples.of_groups(wide.groups)
    lager = [weighted("", each.labelled, each.labelled.uniform()) for each in (wide, narrow)]
    found = [
        resamples.sample(FIGURES["spearman"](method, each.labelled)).interval
        for each, method in zip((wide, narrow), lager, strict=True)
    ]
    same = resamples.sample(lambda rows: spearman(lager[0].scores[rows], lager[1].scores[rows])).interval
    apart = np.abs(lager[0].scores - lager[1].scores).mean() / np.ptp(wide.labelled.values)
    return [*map(str, found), str(same), f"{apart:.2%}", str(len(wide.groups))]


def table(columns: Sequence[str], rows: dict[str, list[str]]) -> Iterator[str]:
    """A Markdown table: its columns, and its rows by the first."""
    yield _line(columns)
    yield "|---" * len(columns) + "|"
    for name, cells in rows.items():
        yield re.sub(r"(?<![\d.])(-?)0\.(\d{3})", r"\1.\2", _line([name, *cells]))
    yield ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def size_of(judge: str) -> int:
    """A judge's place in the order of their sizes."""
    return JUDGES.index(judge.rsplit("-", 1)[0])


def _int8(judge: str) -> str:
    return judge.replace("-fp32", "-int8")
