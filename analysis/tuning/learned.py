"""What is learned from labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.models.calibration import Calibration


@dataclass(frozen=True)
class Learned:
    """Layer weights, and a calibration of the scores under them.

    Attributes:
        weights: (2 (L + 1),).
        calibration: None for scores as they are.
        how: what was chosen, in words.
    """

    weights: Array
    calibration: Calibration | None = None
    how: str = ""


Learn = Callable[[Labelled, Sequence[str]], Learned]
