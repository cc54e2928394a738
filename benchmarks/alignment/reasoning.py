"""Direct grades (D) beside those with reasoning (R), on the same records."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from logits import Graded
from plan import REASONING
from tables import size_of, table

from lager_onnx.analysis.evaluation.agreement import FIGURES
from lager_onnx.analysis.evaluation.methods import Method, best_layer, methods, weighted
from lager_onnx.analysis.evaluation.metrics import Resamples
from lager_onnx.models.method import spearman

_METHODS: Final = ("VScore (vanilla)", "E-Score (expectation)", "LAGER, raw", "LAGER, norm", "best single layer")


def reasoning_tables(graded: Sequence[Graded]) -> Iterator[str]:
    """For every set, two columns a judge: without reasoning, and with it."""
    direct, reasoned = (prompt.name for prompt in REASONING)
    by_key = {(each.data, each.judge, each.prompt): each for each in graded}
    for data in dict.fromkeys(each.data for each in graded):
        judges = sorted({judge for name, judge, prompt in by_key if (name, prompt) == (data, reasoned)}, key=size_of)
        pairs = [(by_key[data, judge, direct], by_key[data, judge, reasoned]) for judge in judges]
        if not pairs:
            continue
        columns = [f"{judge}, {kind}" for judge in judges for kind in "DR"]
        records, groups = len(pairs[0][0].groups), len(set(pairs[0][0].groups))
        yield f"## With reasoning: {data}, {records} records, {groups} groups\n"
        found = [cells for pair in pairs for cells in _cells(*pair)]
        yield from table(
            ["Spearman (95% interval)", *columns], {row: [each[row] for each in found] for row in found[0]}
        )


def _cells(direct: Graded, reasoned: Graded) -> tuple[dict[str, str], dict[str, str]]:
    resamples = Resamples.of_groups(direct.groups)
    columns, lager = [], []
    for each in (direct, reasoned):
        column = {}
        for name, method in zip(_METHODS, _methods(each), strict=True):
            sampled = resamples.sample(FIGURES["spearman"](method, each.labelled))
            same = np.isnan(sampled.interval.value)
            column[name] = "always the same answer" if same else str(sampled.interval)
            if name == "LAGER, raw":
                lager.append(sampled)
        column["LAGER, raw, R less D"] = ""
        column["grades that the judge named"] = f"{each.named.mean():.0%}" if each.named.size else ""
        column["time a record"] = f"{each.seconds / len(each.groups):.2f} s"
        columns.append(column)
    columns[1]["LAGER, raw, R less D"] = str((lager[1] - lager[0]).interval)
    return columns[0], columns[1]


def _methods(graded: Graded) -> list[Method]:
    data = graded.labelled
    vanilla, expectation, *_ = methods(data, data.uniform())
    return [
        vanilla,
        expectation,
        weighted("", data, data.uniform("raw")),
        weighted("", data, data.uniform("norm")),
        best_layer(data, spearman),
    ]
