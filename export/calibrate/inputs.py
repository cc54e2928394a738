"""What a projection reads over calibration text."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_AT_ONCE = 1024  # rows of a moment matrix that are changed at once
_ROWS_AT_ONCE = 1024  # tokens that are multiplied at once


@dataclass
class Inputs:
    """What a projection reads over calibration text.

    `moments` is X'X of all rows, (in, in). `mean` and `sizes` (root mean squares), (in,), and `deviation`, a number for
    all channels, leave out the first token of every prompt: it holds no text, and activations that nothing else holds.
    """

    moments: Array
    rows: int = 0
    total: Array | float = 0.0
    squares: Array | float = 0.0
    _waiting: list[Array] = field(default_factory=list)

    @classmethod
    def of(cls, channels: int) -> "Inputs":
        """Nothing seen yet."""
        return cls(np.zeros((channels, channels), np.float32))

    def copy(self) -> "Inputs":
        """One whose moments may be overwritten."""
        return replace(self, moments=self.moments.copy())

    def add(self, rows: Array) -> None:
        """Counts more of them, (tokens, in); `moments` has them all after `finish`."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _ROWS_AT_ONCE:
            self._multiply()
        text = rows[1:] if len(rows) > 1 else rows  # of one row, the score position's
        self.rows += len(text)
        self.total = self.total + text.sum(axis=0, dtype=np.float64)
        self.squares = self.squares + (text.astype(np.float64) ** 2).sum(axis=0)

    def finish(self) -> None:
        """Ends the counting."""
        if self._waiting:
            self._multiply()
        for first in range(0, len(self.moments), _AT_ONCE):  # so far, only one half was added up
            here = slice(first, first + _AT_ONCE)
            self.moments[first + _AT_ONCE :, here] = self.moments[here, first + _AT_ONCE :].T

    def _multiply(self) -> None:
        rows = np.concatenate(self._waiting)
        for first in range(0, len(self.moments), _AT_ONCE):
            columns = rows[:, first : first + _AT_ONCE]
            self.moments[first : first + _AT_ONCE, first:] += columns.T @ rows[:, first:]
        self._waiting = []

    def divide(self, scale: Array) -> None:
        """Divides every channel by a number, (in,): of X / s, the moments are those of X / s_i / s_j."""
        for first in range(0, len(scale), _AT_ONCE):
            self.moments[first : first + _AT_ONCE] /= scale[first : first + _AT_ONCE, None] * scale
        self.total, self.squares = self.total / scale, self.squares / scale**2

    def turn(self, matrix: Array) -> None:
        """Turns every block of channels by a symmetric matrix H, (block, block): of XH, the moments are H X'X H.

        Means and sizes of channels are no longer known behind it.
        """
        block, channels = len(matrix), len(self.moments)
        for first in range(0, channels, block):
            self.moments[first : first + block] = matrix @ self.moments[first : first + block]
        for first in range(0, channels, _AT_ONCE):
            part = self.moments[first : first + _AT_ONCE]
            part[:] = (part.reshape(-1, block) @ matrix).reshape(part.shape)
        self.rows = 0

    @property
    def mean(self) -> Array:
        """Mean of every channel, (in,)."""
        return self._per_row(self.total)

    @property
    def sizes(self) -> Array:
        """Root mean square of every channel, (in,)."""
        return np.sqrt(self._per_row(self.squares))

    @property
    def deviation(self) -> float:
        """Standard deviation from that mean, over all channels."""
        variance = float((self.sizes**2).mean() - (self.mean**2).mean())
        return math.sqrt(max(variance, 0.0))

    def _per_row(self, sums: Array | float) -> Array:
        return np.asarray(sums / max(self.rows, 1), dtype=np.float32) * np.ones(len(self.moments), np.float32)
