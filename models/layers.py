"""Which layers count: rows 0 (embedding output) to L (after the last decoder layer)."""

import re

from lager_onnx.models.errors import ScaleError

_PART = re.compile(r"(-?[0-9]{1,9})(?:-([0-9]{1,9}))?")


def parse_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """Reads `all`, `upper-half` or a list such as `0,12-20,-1` into rising row numbers of 0..`num_layers`.

    A negative number counts from the top, so `-1` is the last row.

    Raises:
        ScaleError: a part that is no number or lies outside 0..`num_layers`.
    """
    rows = num_layers + 1
    if text == "all":
        return tuple(range(rows))
    if text == "upper-half":
        return tuple(range(rows // 2, rows))
    chosen: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ScaleError(
                f"{part[:40]!r} in the layers {text[:60]!r} is no layer: write all, upper-half or 0,12-20,-1"
            )
        first = int(match[1]) if int(match[1]) >= 0 else rows + int(match[1])
        last = int(match[2]) if match[2] else first
        if not 0 <= first <= last <= num_layers:
            raise ScaleError(
                f"{part!r} in the layers {text!r} lies outside this judge's rows 0 (embedding) to {num_layers}"
            )
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def uniform_weights(layers: tuple[int, ...], num_layers: int) -> tuple[float, ...]:
    """Untuned LAGER weights: 1 / n for each of the n chosen rows, 0 for the others; L + 1 numbers."""
    return tuple(1.0 / len(layers) if row in layers else 0.0 for row in range(num_layers + 1))
