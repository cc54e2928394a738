"""What is learned from labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lager_onnx.analysis.evaluation.metrics import Interval
from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.models.calibration import Calibration


@dataclass(frozen=True)
class Learned:
    """Layer weights, and a calibration of the scores under them.

    Attributes:
        weights: (2 (L + 1),).
        calibration: None for scores as they are.
        how: what was chosen, in words.
        leads: of every way that could be chosen over uniform weights, in Spearman on records that it has not seen.
        fit: how the weights were learned, to learn them again from fewer labels; None where none were.
    """

    weights: Array
    calibration: Calibration | None = None
    how: str = ""
    leads: Mapping[str, Interval] = field(default_factory=dict)
    fit: Callable[[Labelled, Sequence[str]], Array] | None = None


Learn = Callable[[Labelled, Sequence[str]], Learned]
