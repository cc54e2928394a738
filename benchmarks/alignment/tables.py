"""The tables of docs/alignment.md, from stored layer logits: one for every labelled set, and int8 beside float32."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from learning_curve import learning_curves
from logits import Graded

from lager_onnx.analysis.evaluation.agreement import FIGURES
from lager_onnx.analysis.evaluation.methods import best_layer, methods, weighted
from lager_onnx.analysis.evaluation.metrics import Interval, Resamples, Sampled
from lager_onnx.analysis.tuning.calibrate import fit_calibration
from lager_onnx.analysis.tuning.choose import choose
from lager_onnx.analysis.tuning.cross_validation import MEDIAN, estimate
from lager_onnx.analysis.tuning.learned import Learn, Learned
from lager_onnx.analysis.tuning.recipes import recipe
from lager_onnx.models.method import spearman

FOLDS: Final = 5
_FOUND_BELOW: Final = 0.75  # of the scale: as docs/recipes/knowledge_boundary.py
Columns = Sequence[dict[str, str]]


def tables(graded: Sequence[Graded], in_float32: Sequence[Graded]) -> Iterator[str]:
    """Markdown, line by line."""
    for data in dict.fromkeys(each.data for each in graded):
        judges = [each for each in graded if each.data == data]
        names = [each.judge for each in judges]
        yield f"## {data}, `{judges[0].prompt}`, {len(judges[0].groups)} records, {len(set(judges[0].groups))} groups\n"
        yield from _table("Spearman (95% interval)", names, [_agreement(each) for each in judges])
        if data == "self_aware":
            yield from _table("F1 of the unanswerable", names, [_f1(each) for each in judges])
        yield from _table("left out, 5 folds", names, [_tuning(each) for each in judges])
        yield from learning_curves(judges)
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


def _agreement(graded: Graded) -> dict[str, str]:
    """Every method's correlation with the labels, and by how much LAGER leads."""
    data, resamples = graded.labelled, Resamples.of_groups(graded.groups)

    def sample(each: object, figure: str = "spearman") -> Sampled:
        return resamples.sample(FIGURES[figure](each, data))  # type: ignore[arg-type]

    vanilla, expectation, _, _, *ablations = methods(data, data.uniform(), ablations=True)
    raw, norm = (weighted("", data, data.uniform(lens)) for lens in ("raw", "norm"))
    best = best_layer(data, spearman)
    named = {"VScore (vanilla)": vanilla, "E-Score (expectation)": expectation, "LAGER, raw": raw, "LAGER, norm": norm}
    named |= {each.name: each for each in ablations if each.name.endswith("uniform")}
    cells = {name: _cell(sample(each).interval) for name, each in named.items()}
    cells["best single layer (oracle)"] = f"{_cell(sample(best).interval)}, {best.name.removesuffix(' (oracle)')}"
    cells["LAGER, raw, leads E-Score by"] = str((sample(raw) - sample(expectation)).interval)
    cells |= {f"Pearson of {name}": str(sample(named[name], "pearson").interval) for name in list(named)[1:3]}
    cells["mean absolute error, E-Score"] = str(sample(expectation, "mae").interval)
    cells["time a record"] = f"{graded.seconds / len(data.labels):.2f} s"
    return cells


def _cell(interval: Interval) -> str:
    return "always the same answer" if np.isnan(interval.value) else str(interval)


def _tuning(graded: Graded) -> dict[str, str]:
    """What tuning and calibration bring on responses that they have not seen."""
    data, cells = graded.labelled, dict[str, str]()
    for name, learn in (
        ("choose", choose), ("regularised", _fit("regularised")), ("paper", _fit("paper")),
    ):  # fmt: skip
        found = estimate(data, graded.groups, data.uniform(), _calibrated(learn), FOLDS)
        if not cells:
            cells["uniform, Spearman"] = str(found.table["uniform"]["spearman"])
        cells[f"tuned ({name}), Spearman"] = str(found.table["tuned"]["spearman"])
        cells[f"tuned ({name}) less uniform"] = str(found.gain)
        if name == "choose":
            cells["chosen with all labels"] = choose(data, graded.groups).how
            errors = found.table
    for figure, title in (("mae", "mean absolute error"), ("ece", "calibration error")):
        for method in ("uniform", "tuned", "calibrated", MEDIAN):
            if figure in errors[method]:
                cells[f"{title}, {method}"] = str(errors[method][figure])
    return cells


def _fit(name: str) -> Learn:
    fit = recipe(name, epochs=1)  # type: ignore[arg-type]
    return lambda data, groups: Learned(fit(data, groups))


def _calibrated(learn: Learn) -> Learn:
    def both(data, groups):  # type: ignore[no-untyped-def]
        weights = learn(data, groups).weights
        return Learned(weights, fit_calibration(data.scores(weights), data.labels, groups, data.values))

    return both


def _f1(graded: Graded) -> dict[str, str]:
    """F1 of finding questions that cannot be answered: those whose score is below 0.75 of the scale."""
    data, resamples = graded.labelled, Resamples.of_groups(graded.groups)
    lowest, highest = data.values.min(), data.values.max()
    true = data.labels == lowest

    def f1_of(found, rows):  # type: ignore[no-untyped-def]
        return 2 * (found & true)[rows].sum() / max(1, found[rows].sum() + true[rows].sum())

    vanilla, expectation, lager, *_ = methods(data, data.uniform())
    named = {"VScore": vanilla.scores, "E-Score": expectation.scores, "LAGER, raw": lager.scores}
    named["calling all unanswerable"] = np.full(len(true), lowest)
    cells = {}
    for name, scores in named.items():
        found = scores < lowest + _FOUND_BELOW * (highest - lowest)
        figure = resamples.sample(lambda rows, found=found: f1_of(found, rows)).interval  # type: ignore[misc]
        cells[name] = f"{figure}, {found.sum()} called so"
    return cells


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
