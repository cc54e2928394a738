"""The tables of docs/alignment.md: one for every labelled set, and int8 beside float32."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from logits import Graded

from lager_onnx.analysis.evaluation.agreement import FIGURES
from lager_onnx.analysis.evaluation.methods import weighted
from lager_onnx.analysis.evaluation.metrics import Resamples
from lager_onnx.models.method import spearman

Columns = Sequence[dict[str, str]]
_TITLES: Final = {
    "agreement": "Spearman (95% interval)", "F1": "F1 of the unanswerable", "left out": "left out, 5 folds",
}  # fmt: skip


def tables(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Markdown, line by line, of what `figures` found."""
    for data in dict.fromkeys(each["data"] for each in found):
        judges = [each for each in found if each["data"] == data]
        names = [each["judge"] for each in judges]
        first = judges[0]
        yield f"## {data}, `{first['prompt']}`, {first['records']} records, {first['groups']} groups\n"
        for part, title in _TITLES.items():
            if part in first:
                yield from _table(title, names, [each[part] for each in judges])
        yield from _few_labels(judges)


def _few_labels(judges: Sequence[dict[str, Any]]) -> Iterator[str]:
    recipes = list(next(iter(judges[0]["few labels"].values())))
    yield "| judge | labels | " + " | ".join(recipes) + " |\n|---|---|" + "---|" * len(recipes)
    for each in judges:
        for size, cells in each["few labels"].items():
            yield f"| {each['judge']} | {size} | " + " | ".join(cells[name] for name in recipes) + " |"
    yield ""


def precision_tables(graded: Sequence[Graded], in_float32: Sequence[Graded]) -> Iterator[str]:
    """Judges in float32 beside the same in int8, on the same records."""
    for wide in in_float32:
        narrow = next((each for each in graded if (each.data, each.judge) == (wide.data, _int8(wide.judge))), None)
        if narrow:
            yield from _precisions(wide, narrow.of_groups(set(wide.groups)))


def _table(title: str, names: Sequence[str], columns: Columns) -> Iterator[str]:
    yield f"| {title} | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    for row in dict.fromkeys(row for column in columns for row in column):
        yield f"| {row} | " + " | ".join(column.get(row, "") for column in columns) + " |"
    yield ""


def _int8(judge: str) -> str:
    return judge.replace("-fp32", "-int8")


def _precisions(wide: Graded, narrow: Graded) -> Iterator[str]:
    """A judge in float32 and in int8 on the same records."""
    resamples = Resamples.of_groups(wide.groups)
    lager = [weighted("", each.labelled, each.labelled.uniform()) for each in (wide, narrow)]
    columns = []
    for graded, method in zip((wide, narrow), lager, strict=True):
        figure = resamples.sample(FIGURES["spearman"](method, graded.labelled))
        columns.append({"LAGER, raw": str(figure.interval), "records": str(len(graded.groups))})
    yield from _table(f"{wide.data}, the same records", [wide.judge, narrow.judge], columns)
    same = resamples.sample(lambda rows: spearman(lager[0].scores[rows], lager[1].scores[rows])).interval
    apart = np.abs(lager[0].scores - lager[1].scores).mean() / np.ptp(wide.labelled.values)
    yield f"The two agree at Spearman {same}; they are {apart:.2%} of the scale apart.\n"
