"""What tuning brings, estimated on responses that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lager_onnx.analysis.evaluation.agreement import FIGURES
from lager_onnx.analysis.evaluation.methods import Method, as_graded
from lager_onnx.analysis.evaluation.metrics import LEAST_GROUPS, Interval, Resamples
from lager_onnx.analysis.labels.groups import Rows, group_folds
from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.analysis.labels.overlap import Overlap
from lager_onnx.analysis.tuning.learned import Learn
from lager_onnx.models.errors import LabelError
from lager_onnx.models.method import codes, ranks

SHOWN: Final = {"spearman": "Spearman", "pearson": "Pearson", "mae": "mean absolute error", "ece": "calibration error"}
MEDIAN: Final = "the labels' median"


@dataclass(frozen=True)
class Estimate:
    """What k-fold cross-validation says of tuning.

    Attributes:
        table: for each method ("uniform"; "tuned" and "calibrated", on records that their fold did not learn from; "as
            stored", where the judge's weights are not uniform) the figures of `SHOWN` with intervals; of the labels'
            median, what is left without any judge, the error alone.
        gain: Spearman of tuned less that of the best of the others, on the same resamples. Spearman is of ranks among
            the records of a fold. "as stored" is not among the others where it was learned from some of these records.
        known: how many of the records the stored weights were learned from.
    """

    table: dict[str, dict[str, Interval]]
    gain: Interval
    known: Overlap | None = None

    @property
    def helps(self) -> bool:
        """Whether the gain can be told from chance."""
        return self.gain.low > 0

    def describe(self, records: int, groups: int, folds: int) -> str:
        """A table and a sentence for people."""
        intervals = "95% intervals by resampling groups" if groups >= LEAST_GROUPS else "too few groups for intervals"
        lines = [f"{records} labels, {groups} groups, {folds} folds; {intervals}", ""]
        lines.append(f"{'':20s}" + "".join(f"{name:26s}" for name in SHOWN.values()).rstrip())
        for method, figures in self.table.items():
            cells = "".join(f"{figures.get(name, '')!s:26s}" for name in SHOWN)
            lines.append(f"{method:20s}{cells}".rstrip())
        if "as stored" in self.table and self.known and self.known.records:
            lines += ["", f"{self.known.describe('as stored')}"]
        verdict = "Tuning helps" if self.helps else "Tuning brings nothing that can be told from chance"
        if self.gain.high < 0:
            verdict = "Tuning does harm"
        if groups < LEAST_GROUPS:
            verdict = (
                f"What tuning brings cannot be told from {groups} groups ({LEAST_GROUPS} are needed for intervals)"
            )
        return "\n".join([*lines, "", f"{verdict}: Spearman changes by {self.gain}"])


def estimate(
    data: Labelled, groups: Sequence[str], stored: Array, learn: Learn, folds: int, known: Overlap | None = None
) -> Estimate:
    """Cross-validates `learn` over groups.

    Args:
        data: layer logits and labels.
        groups: of every record.
        stored: the judge's layer weights, (2 (L + 1),).
        learn: what is estimated.
        folds: of the cross-validation.
        known: how many of the records the stored weights were learned from.

    Raises:
        LabelError: labels are all the same, or there are fewer groups than folds.
    """
    if np.ptp(data.labels) == 0:
        raise LabelError(f"all {len(data.labels)} labels are {data.labels[0]:g}: there is nothing to learn from them")
    tuned, *calibrated = left_out(data, groups, learn, folds)
    methods = [as_graded("uniform", data, data.uniform(), None), tuned, *calibrated]
    if not np.allclose(stored, data.uniform()):
        methods.append(as_graded("as stored", data, stored, None))
    resamples, parts = Resamples.of_groups(groups), [test for _, test in group_folds(groups, folds)]
    sampled = {
        method.name: {
            name: resamples.sample(FIGURES[name](_ranked(method, parts) if name == "spearman" else method, data))
            for name in SHOWN
        }
        for method in methods
    }
    others = ("uniform",) if known and known.records else ("uniform", "as stored")
    agreement = {name: figures["spearman"] for name, figures in sampled.items() if name in others}
    other = max(agreement.values(), key=lambda figure: np.nan_to_num(figure.value, nan=-1))
    table = {name: {key: figure.interval for key, figure in figures.items()} for name, figures in sampled.items()}
    if calibrated:
        constant = _left_out_medians(data, groups, folds)
        table[MEDIAN] = {"mae": resamples.sample(FIGURES["mae"](constant, data)).interval}
    return Estimate(table, (sampled["tuned"]["spearman"] - other).interval, known)


def left_out(data: Labelled, groups: Sequence[str], learn: Learn, folds: int, *, seed: int = 0) -> list[Method]:
    """What judges say of records, each learned without the record's group: "tuned", and "calibrated" where they are.

    Raises:
        LabelError: fewer groups than folds.
    """
    parts: list[tuple[Rows, list[Method]]] = []
    for train, test in group_folds(groups, folds, seed=seed):
        learned = learn(data.at(train), [groups[row] for row in train])
        some = data.at(test)
        methods = [as_graded("tuned", some, learned.weights, None)]
        if learned.calibration:
            methods.append(as_graded("calibrated", some, learned.weights, learned.calibration))
        parts.append((test, methods))
    order = np.argsort(np.concatenate([test for test, _ in parts]))
    together = zip(*(methods for _, methods in parts), strict=True)
    return [
        Method(
            each[0].name,
            np.concatenate([method.scores for method in each])[order],
            np.concatenate([method.probabilities for method in each])[order],
        )
        for each in together
    ]


def _ranked(method: Method, parts: Sequence[Rows]) -> Method:
    """Ranks among the records of the same fold: what was learned on different folds gives scores of other sizes."""
    scores = np.empty(len(method.scores))
    for rows in parts:
        scores[rows] = ranks(codes(method.scores[rows])) / len(rows)
    return Method(method.name, scores, method.probabilities)


def _left_out_medians(data: Labelled, groups: Sequence[str], folds: int) -> Method:
    scores = np.empty(len(data.labels))
    for train, test in group_folds(groups, folds):
        scores[test] = np.median(data.labels[train])
    return Method(MEDIAN, scores, np.zeros((len(scores), len(data.values))))
