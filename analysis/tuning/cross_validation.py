"""What tuning brings, estimated on responses that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lager_onnx.analysis.evaluation.metrics import METRICS, Interval, Resamples
from lager_onnx.analysis.labels.groups import group_folds
from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.analysis.tuning.recipes import Fit
from lager_onnx.models.errors import LabelError


@dataclass(frozen=True)
class Estimate:
    """What k-fold cross-validation says of tuning.

    Attributes:
        table: for each method ("uniform"; "tuned", on records that its fold did not learn from; "as stored", where
            the judge's weights are not uniform) the figures of `METRICS` with intervals.
        gain: Spearman of tuned less that of the best of the others, on the same resamples.
    """

    table: dict[str, dict[str, Interval]]
    gain: Interval

    @property
    def helps(self) -> bool:
        """Whether the gain can be told from chance."""
        return self.gain.low > 0

    def describe(self, records: int, groups: int, folds: int) -> str:
        """A table and a sentence for people."""
        lines = [f"{records} labels, {groups} groups, {folds} folds; 95% intervals by resampling groups", ""]
        lines.append(f"{'':12s}" + "".join(f"{name:28s}" for name in METRICS))
        for method, figures in self.table.items():
            lines.append(f"{method:12s}" + "".join(f"{figures[name]!s:28s}" for name in METRICS))
        verdict = "Tuning helps" if self.helps else "Tuning brings nothing that can be told from chance"
        if self.gain.high < 0:
            verdict = "Tuning does harm"
        return "\n".join([*lines, "", f"{verdict}: Spearman changes by {self.gain}"])


def estimate(data: Labelled, groups: Sequence[str], stored: Array, learn: Fit, folds: int) -> Estimate:
    """Cross-validates `learn` over groups.

    Raises:
        LabelError: labels are all the same, or there are fewer groups than folds.
    """
    if np.ptp(data.labels) == 0:
        raise LabelError(f"all {len(data.labels)} labels are {data.labels[0]:g}: there is nothing to learn from them")
    tuned = left_out_scores(data, groups, learn, folds)
    uniform = data.uniform()
    scores = {"uniform": data.scores(uniform), "tuned": tuned}
    if not np.allclose(stored, uniform):
        scores["as stored"] = data.scores(stored)
    resamples = Resamples.of_groups(groups)
    sampled = {
        method: {name: resamples.sample(metric(found, data.labels)) for name, metric in METRICS.items()}
        for method, found in scores.items()
    }
    agreement = {method: figures["Spearman"] for method, figures in sampled.items()}
    others = [method for method in scores if method != "tuned"]
    other = max(others, key=lambda method: np.nan_to_num(agreement[method].value, nan=-1))
    table = {method: {name: figure.interval for name, figure in figures.items()} for method, figures in sampled.items()}
    return Estimate(table, (agreement["tuned"] - agreement[other]).interval)


def left_out_scores(data: Labelled, groups: Sequence[str], learn: Fit, folds: int, *, seed: int = 0) -> Array:
    """Scores (records,), each under weights that were learned without its group.

    Raises:
        LabelError: fewer groups than folds.
    """
    scores = np.empty(len(groups))
    for train, test in group_folds(groups, folds, seed=seed):
        scores[test] = data.at(test).scores(learn(data.at(train), [groups[row] for row in train]))
    return scores
