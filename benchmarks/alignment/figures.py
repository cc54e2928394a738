"""Figures of one judge on one labelled set, from stored layer logits: what docs/alignment.md's tables hold."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from learning_curve import learning_curve
from logits import Graded

from lager_onnx.analysis.evaluation.agreement import FIGURES
from lager_onnx.analysis.evaluation.methods import best_layer, methods, weighted
from lager_onnx.analysis.evaluation.metrics import Interval, Resamples, Sampled
from lager_onnx.analysis.labels.labelled import Labelled
from lager_onnx.analysis.tuning.calibrate import calibrated
from lager_onnx.analysis.tuning.choices import up_to
from lager_onnx.analysis.tuning.choose import choose
from lager_onnx.analysis.tuning.cross_validation import MEDIAN, estimate
from lager_onnx.analysis.tuning.learned import Learn, Learned
from lager_onnx.analysis.tuning.recipes import Fit, recipe
from lager_onnx.models.method import spearman

FOLDS: Final = 5
_FOUND_BELOW: Final = 0.75  # of the scale: as docs/recipes/knowledge_boundary.py


def figures(graded: Graded) -> dict[str, Any]:
    """Cells of every table by the table's name and the row's; minutes of work for thousands of records."""
    found: dict[str, Any] = {
        "judge": graded.judge, "data": graded.data, "prompt": graded.prompt,
        "records": len(graded.groups), "groups": len(set(graded.groups)),
        "agreement": agreement(graded),
        "left out": _tuning(graded),
        "few labels": learning_curve(graded),
    }  # fmt: skip
    return found | ({"F1": _f1(graded)} if graded.data == "self_aware" else {})


def agreement(graded: Graded) -> dict[str, str]:
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
    ways: dict[str, Learn] = {
        "choose": _choose_and_calibrate,
        "up to a depth": _learner(up_to("raw")),
        "regularised": _learner(recipe("regularised", epochs=1)),
        "paper": _learner(recipe("paper", epochs=1)),
    }
    for name, learn in ways.items():
        found = estimate(data, graded.groups, data.uniform(), learn, FOLDS)
        if not cells:
            cells["uniform, Spearman"] = str(found.table["uniform"]["spearman"])
        cells[f"tuned ({name}), Spearman"] = str(found.table["tuned"]["spearman"])
        cells[f"tuned ({name}) less uniform"] = str(found.gain)
        if name == "choose":
            cells["chosen with all labels"] = choose(data, graded.groups).how
            errors = found.table
    rows = np.count_nonzero(up_to("raw")(data, graded.groups))
    cells["depth found with all labels"] = f"{rows - 1} of {np.count_nonzero(data.uniform()) - 1} layers"
    for figure, title in (("mae", "mean absolute error"), ("ece", "calibration error")):
        for method in ("uniform", "tuned", "calibrated", MEDIAN):
            if figure in errors[method]:
                cells[f"{title}, {method}"] = str(errors[method][figure])
    return cells


def _learner(fit: Fit) -> Learn:
    return lambda data, groups: Learned(fit(data, groups), fit=fit)


def _choose_and_calibrate(data: Labelled, groups: Sequence[str]) -> Learned:
    return calibrated(choose(data, groups), data, groups)


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
