"""Learns a judge's layer weights, and how to read its scores, from people's labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lager_onnx.analysis.labels.labelled import Labelled, labelled_logits
from lager_onnx.analysis.labels.overlap import learned_from, overlap_of, seen
from lager_onnx.analysis.labels.read import LabelledRecords, as_labelled
from lager_onnx.analysis.tuning.calibrate import calibrated
from lager_onnx.analysis.tuning.choose import choose
from lager_onnx.analysis.tuning.cross_validation import Estimate, estimate
from lager_onnx.analysis.tuning.learned import Learn, Learned
from lager_onnx.analysis.tuning.loss import Distance
from lager_onnx.analysis.tuning.recipes import Recipe, recipe
from lager_onnx.analysis.tuning.write_weights import reweigh
from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import LabelError
from lager_onnx.models.learned_from import LearnedFrom
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.judge import Judge


@dataclass(frozen=True)
class Tuned:
    """What was learned, and what it is worth.

    Attributes:
        learned: from all labels.
        estimate: what tuning brings on responses that it has not seen.
        records, groups, folds: of the labels, and of the cross-validation.
        origin: how the weights came about, for `judge.json`.
        learned_from: digests of the labelled texts, for `judge.json`; also where uniform weights are kept, since
            these labels chose them.
    """

    learned: Learned
    estimate: Estimate
    records: int
    groups: int
    folds: int
    origin: str
    learned_from: LearnedFrom

    def describe(self) -> str:
        """What each way brings, the estimate as a table, and a sentence."""
        lines = []
        if self.learned.leads:
            lines.append(f"{'':28s}lead over uniform weights, on responses that it has not seen")
            lines += [f"{name:28s}{lead}" for name, lead in self.learned.leads.items()]
            lines += ["", f"Chosen: {self.learned.how}", ""]
        lines.append(self.estimate.describe(self.records, self.groups, self.folds))
        if self.learned.calibration:
            lines += ["", f"Calibration: {self.learned.calibration.describe()}"]
        return "\n".join(lines)

    def write(self, judge_dir: str | Path, target: str | Path | None = None, *, overwrite: bool = False) -> JudgeSpec:
        """Writes the judge with what was learned, in place or to `target`; its large weights are not written again."""
        return reweigh(
            Path(judge_dir), self.learned.weights.tolist(), self.origin, calibration=self.learned.calibration,
            learned_from=self.learned_from, target=Path(target) if target else None, overwrite=overwrite,
        )  # fmt: skip


def tune(
    judge: Judge,
    records: LabelledRecords | Iterable[Mapping[str, Any]],
    *,
    label: str = "human_score",
    fields: Mapping[str, str] | None = None,
    name: str = "records in memory",
    recipe_name: Recipe | Literal["choose"] = "choose",
    alpha: float | None = None,
    distance: Distance | None = None,
    epochs: int = 1,
    folds: int = 5,
    calibrate: bool = False,
) -> Tuned:
    """Learns layer weights from labels, and estimates by cross-validation what that brings; writes nothing.

        tuned = tune(judge, records)
        print(tuned.describe())
        tuned.write("judges/smollm2", "judges/tuned")

    Args:
        judge: the judge; its layer logits are kept in the cache folder, and a second run takes seconds.
        records: with a label each: a list, a pandas DataFrame or a `datasets.Dataset`. Those of one `group`, or of the
            same instruction and response, belong together.
        label: the field that holds it.
        fields: which field of a record is read as what, as `Judge.score` takes them.
        name: what to call the records in `judge.json`.
        recipe_name: "choose" among lenses, layers, and learned weights, and keep uniform ones where nothing can be told
            from chance; "regularised", learned weights, drawn to uniform ones the more, the fewer labels there are; or
            "paper".
        alpha: share of the cross entropy in the loss, where it is not to be the recipe's own.
        distance: the rest of the loss, likewise.
        epochs: passes over the labels, in the paper's recipe.
        folds: of the cross-validation; no group is in two.
        calibrate: learn, too, what people would say where the judge gives a score.

    Raises:
        LabelError: a label is missing, no number, or out of the judge's scale; all are the same, or too few.
        RecordError: a record that cannot be graded.
    """
    rows = as_labelled(records, judge.spec.scale, field=label, fields=fields).rows
    data, groups = labelled_logits(judge, rows), [row.group for row in rows]
    options = {key: value for key, value in (("alpha", alpha), ("distance", distance)) if value is not None}
    learn = _learner(recipe_name, epochs, calibrate=calibrate, **options)
    known = overlap_of(judge.spec, groups, seen(judge.spec, rows))
    found = estimate(data, groups, np.asarray(judge.spec.layer_weights), learn, folds, known)
    origin = f"tuned on {len(rows)} labels of {name}, recipe {recipe_name}"
    origin += "".join(f", {key} {value}" for key, value in options.items())
    learned = learn(data, groups)
    if learned.how:
        origin += f": {learned.how}"
    if learned.calibration:
        learned = replace(learned, calibration=replace(learned.calibration, origin=f"{len(rows)} labels of {name}"))
    return Tuned(learned, found, len(rows), len(set(groups)), folds, origin, learned_from(judge.spec, rows))


def _learner(recipe_name: Recipe | Literal["choose"], epochs: int, *, calibrate: bool, **options: Any) -> Learn:
    if recipe_name == "choose" and options:
        raise LabelError(
            f"{' and '.join(options)} belong to a recipe",
            Cure(command="add --recipe regularised or paper", python='give recipe_name="regularised" or "paper"'),
        )

    def learn(data: Labelled, groups: Sequence[str]) -> Learned:
        if recipe_name == "choose":
            learned = choose(data, groups)
        else:
            fit = recipe(recipe_name, epochs=epochs, **options)
            learned = Learned(fit(data, groups), fit=fit)
        return calibrated(learned, data, groups) if calibrate else learned

    return learn
