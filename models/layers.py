"""The rows of layer logits: layers 0 (embedding output) to L (after the last layer), each under two lenses."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from lager_onnx.models.errors import ScaleError

Lens = Literal["raw", "norm"]
LENSES: Final[tuple[Lens, ...]] = ("raw", "norm")
_PART = re.compile(r"(-?[0-9]{1,9})(?:-([0-9]{1,9}))?")


@dataclass(frozen=True)
class Row:
    """One row of layer logits: layer 0 to L, read raw (the residual stream as it is) or behind the final norm."""

    lens: Lens
    layer: int

    def __str__(self) -> str:
        return f"{self.lens} {self.layer}"


def rows_of(num_layers: int) -> tuple[Row, ...]:
    """The 2 (L + 1) rows of a judge in their order: all raw ones, then all normed ones."""
    return tuple(Row(lens, layer) for lens in LENSES for layer in range(num_layers + 1))


def layers_of(rows: int) -> int:
    """L, of a judge with so many rows."""
    return rows // len(LENSES) - 1


def parse_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """Reads `all`, `upper-half` or a list such as `0,12-20,-1` into rising layer numbers of 0..`num_layers`.

    A negative number counts from the top, so `-1` is the last layer.

    Raises:
        ScaleError: a part that is no number or lies outside 0..`num_layers`.
    """
    count = num_layers + 1
    if text == "all":
        return tuple(range(count))
    if text == "upper-half":
        return tuple(range(count // 2, count))
    chosen: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ScaleError(
                f"{part[:40]!r} in the layers {text[:60]!r} is no layer: write all, upper-half or 0,12-20,-1"
            )
        first = int(match[1]) if int(match[1]) >= 0 else count + int(match[1])
        last = int(match[2]) if match[2] else first
        if not 0 <= first <= last <= num_layers:
            raise ScaleError(
                f"{part!r} in the layers {text!r} lies outside this judge's layers 0 (embedding) to {num_layers}"
            )
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def uniform_weights(lens: Lens, layers: tuple[int, ...], num_layers: int) -> tuple[float, ...]:
    """Untuned LAGER weights: 1 / n for each of n chosen layers under a lens, 0 for other rows; 2 (L + 1) of them.

    The last layer is read behind the final norm under both lenses, as the model's own head reads it.
    """
    chosen = {Row("norm" if layer == num_layers else lens, layer) for layer in layers}
    return tuple(1.0 / len(layers) if row in chosen else 0.0 for row in rows_of(num_layers))
