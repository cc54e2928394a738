"""The scale that a judge grades on: labels that it may answer, and the value of each."""

import math
import re
from dataclasses import dataclass

from lager_onnx.models.errors import ScaleError

_RANGE = re.compile(r"\s*(-?[0-9]{1,18})\s*-\s*(-?[0-9]{1,18})\s*")
_HOW = "write a range such as 1-5, a list such as 1,3,5, or labels with values such as bad=0,ok=1,good=2"


@dataclass(frozen=True)
class Scale:
    """The candidate scores: `labels` are what the judge writes, `values` what they count.

    Raises:
        ScaleError: fewer than two labels, one twice, a value that is not finite, or all values equal.
    """

    labels: tuple[str, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.values) or len(self.labels) < 2:
            raise ScaleError(f"a scale needs at least two labels, each with a value; got {self.labels}: {_HOW}")
        if len(set(self.labels)) != len(self.labels):
            raise ScaleError(f"a label stands twice in the scale {', '.join(self.labels)}: give each once")
        if not all(self.labels) or not all(math.isfinite(value) for value in self.values):
            raise ScaleError(f"a label is empty or a value not a finite number in {self}: {_HOW}")
        if len(set(self.values)) == 1:
            raise ScaleError(f"all labels of {self} have the same value, so every score would be {self.values[0]}")

    @classmethod
    def parse(cls, text: str) -> "Scale":
        """Reads `1-5`, `1,3,5`, `bad=0,ok=1,good=2` or `decisions`: ten digits, 0 the highest of them.

        >>> Scale.parse("bad=0,good=1")
        Scale(labels=('bad', 'good'), values=(0.0, 1.0))
        """
        if text.strip() == "decisions":
            return cls.of({str(level % 10): level for level in range(1, 11)})
        if match := _RANGE.fullmatch(text):
            first, last = int(match[1]), int(match[2])
            if first >= last:
                raise ScaleError(f"the range {text!r} must rise: write {last}-{first}")
            if last - first >= 100:
                raise ScaleError(f"the range {text!r} has {last - first + 1} scores; 100 at most")
            return cls.of({str(score): score for score in range(first, last + 1)})
        labels, values = [], []
        for part in text.split(","):
            label, equals, value = part.rpartition("=")
            label, value = (label if equals else value).strip(), value.strip()
            try:
                values.append(float(value))
            except (ValueError, OverflowError) as error:
                raise ScaleError(f"{part.strip()[:40]!r} in the scale {text[:80]!r} has no number: {_HOW}") from error
            labels.append(label)
        return cls(tuple(labels), tuple(values))

    @classmethod
    def of(cls, value_of: dict[str, float]) -> "Scale":
        """The scale of a mapping from label to value, in its order."""
        return cls(tuple(value_of), tuple(float(value) for value in value_of.values()))

    @property
    def width(self) -> float:
        """Distance from the lowest value to the highest."""
        return max(self.values) - min(self.values)

    @property
    def lowest(self) -> str:
        """Label with the smallest value."""
        return self.labels[self.values.index(min(self.values))]

    @property
    def highest(self) -> str:
        """Label with the largest value."""
        return self.labels[self.values.index(max(self.values))]

    def __str__(self) -> str:
        if all(label == f"{value:g}" for label, value in zip(self.labels, self.values, strict=True)):
            return ", ".join(self.labels)
        return ", ".join(f"{label}={value:g}" for label, value in zip(self.labels, self.values, strict=True))
