"""Layer logits of a judge beside what people said: all that evaluating and tuning need."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lager_onnx.analysis.labels.layer_cache import UngradableError, feedback_path, layer_logits
from lager_onnx.analysis.labels.read import LabelledRecord, LabelledRecords
from lager_onnx.models.errors import LabelError, RecordError
from lager_onnx.models.layers import Lens, Row, layers_of, rows_of, uniform_weights
from lager_onnx.models.method import lager_score, without_noise
from lager_onnx.runtime.files import cache_folder
from lager_onnx.runtime.judge import Judge

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """Layer logits of a judge, and what people said.

    Attributes:
        logits: (records, 2 (L + 1), K).
        labels: (records,), in the units of the scale.
        values: (K,) of the scale.
    """

    logits: Array
    labels: Array
    values: Array

    def __post_init__(self) -> None:
        lowest, highest = self.values.min(), self.values.max()
        if not np.isfinite(self.labels).all() or self.labels.min() < lowest or self.labels.max() > highest:
            raise LabelError(f"labels must be numbers from {lowest:g} to {highest:g}, as the judge's scale")

    @property
    def rows(self) -> tuple[Row, ...]:
        """What the rows of the logits are of."""
        return rows_of(layers_of(self.logits.shape[1]))

    def uniform(self, lens: Lens = "raw") -> Array:
        """Weights (2 (L + 1),) of untuned LAGER."""
        layers = layers_of(self.logits.shape[1])
        return np.asarray(uniform_weights(lens, tuple(range(layers + 1)), layers))

    def of_rows(self, rows: npt.NDArray[np.integer]) -> "Labelled":
        """Some rows of the layer logits of all records."""
        return Labelled(self.logits[:, rows], self.labels, self.values)

    def at(self, records: npt.NDArray[np.integer]) -> "Labelled":
        """Some of the records."""
        return Labelled(self.logits[records], self.labels[records], self.values)

    def scores(self, weights: Array) -> Array:
        """LAGER scores under other layer weights, (records,); those that differ by noise alone are equal."""
        return without_noise(lager_score(weights, self.logits, self.values), np.ptp(self.values))


def labelled_logits(judge: Judge, rows: Sequence[LabelledRecord], folder: Path | None = None) -> Labelled:
    """Layer logits and labels of records; logits are kept in `folder`, the cache folder by default.

    Raises:
        RecordError: a record that cannot be graded.
    """
    records = [row.record for row in rows]
    try:
        logits = layer_logits(judge, records, folder or cache_folder())
    except UngradableError as error:
        raise RecordError(error.problem, error.cure).at(rows[error.number].where) from error
    labels = np.array([row.label for row in rows])
    return Labelled(logits.astype(np.float64), labels, np.asarray(judge.spec.scale.values, dtype=np.float64))


def written_feedback(judge: Judge, rows: Sequence[LabelledRecord], folder: Path | None = None) -> Path | None:
    """The JSON lines that say what a judge wrote when `labelled_logits` were made; None for one that only grades."""
    if judge.reasoning is None:
        return None
    path = feedback_path(judge, [row.record for row in rows], folder or cache_folder())
    return path if path.exists() else None


def gradable(judge: Judge, found: LabelledRecords) -> LabelledRecords:
    """Those of the records that the judge can read; the others are left out, too.

    Raises:
        LabelError: it can read none.
    """
    problems = judge.problems([row.record for row in found.rows])
    kept = [row for row, problem in zip(found.rows, problems, strict=True) if problem is None]
    wrong = [problem.at(row.where) for row, problem in zip(found.rows, problems, strict=True) if problem]
    left = LabelledRecords(kept, [*found.left_out, *wrong])
    if not kept:
        raise left.none_left("the judge can grade none of the records")
    return left
