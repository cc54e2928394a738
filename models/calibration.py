"""From a judge's scores to people's: a rising line with a few corners."""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Calibration:
    """What turns a LAGER score into the label that people would give; between the corners it is straight.

    Attributes:
        scores: corners, rising strictly from the lowest to the highest value of the scale.
        labels: where they go, rising strictly, inside the scale; so ranks stay as they are.
        origin: what it was learned from.
    """

    scores: tuple[float, ...]
    labels: tuple[float, ...]
    origin: str

    def __post_init__(self) -> None:
        if len(self.scores) != len(self.labels) or len(self.scores) < 2:
            raise ValueError(f"a calibration with {len(self.scores)} scores and {len(self.labels)} labels")
        for numbers in (self.scores, self.labels):
            if not all(one < other for one, other in pairwise(numbers)):
                raise ValueError(f"the corners {numbers} of a calibration do not rise")

    def describe(self) -> str:
        """The corners within the scale: which label each score becomes."""
        inner = list(zip(self.scores, self.labels, strict=True))[1:-1]
        return ", ".join(
            f"{score:.3f} becomes {label:.3f}" for score, label in inner or [(self.scores[0], self.labels[0])]
        )

    def check(self, lowest: float, highest: float) -> None:
        """Raises `ValueError` where it is none for a scale with these ends."""
        ends, levels = (self.scores[0], self.scores[-1]), (self.labels[0], self.labels[-1])
        if ends != (lowest, highest) or levels[0] < lowest or levels[1] > highest:
            raise ValueError(f"a calibration from {ends} to {levels} on a scale from {lowest} to {highest}")
