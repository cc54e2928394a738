"""Moves scale from the channels behind the gate of an MLP into the weight that reads them."""

from collections.abc import Collection
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.calibrate.inputs import Inputs
from lager_onnx.export.weights import change_rows, change_whole, numpy_of

_MOVED: Final = 0.7  # share of the scale; chosen by measurement (BENCHMARKS.md)
# Of the median. A channel that is silent over calibration text is not made large, since it may speak elsewhere.
_SMALLEST: Final = 0.1


def smooth(down: ir.Node, projections: Collection[ir.Node], inputs: Inputs) -> bool:
    """Divides every channel behind a gate by s, and multiplies the row of the weight that reads it by s.

    The largest channels of a row decide how finely all others are rounded. With s = channel^0.7 / row^0.3, sizes as
    root mean squares, most of what makes a channel large goes into the weight, whose columns are rounded apart:

        before: x ┬ MatMul(G) ─ activation ┬ Mul ─ MatMul(W)
                  └ MatMul(U) ─────────────┘
        after:  the same, with U / s (a number a column) and s W (a number a row)

    An exact rewrite. An MLP that has biases, or one product for G and U, is left as it is. Source: SmoothQuant,
    arXiv 2211.10438, equation 4, which has maxima where we have root mean squares.

    Args:
        down: the product with W.
        projections: the other products of the layer.
        inputs: what `down` reads over calibration text; becomes what it reads afterwards.

    Returns:
        Whether it was done.
    """
    x, weight = down.inputs
    assert x is not None
    gate = x.producer()
    assert gate is not None
    makers = [operand.producer() for operand in gate.inputs if operand is not None]
    linear = [maker for maker in makers if maker in projections]
    if len(linear) != 1 or linear[0] is None:
        return False
    channels = _not_too_small(inputs.sizes)
    read = numpy_of(weight)
    rows = _not_too_small(np.sqrt(np.einsum("ij,ij->i", read, read) / read.shape[1]))
    scale = channels**_MOVED / rows ** (1 - _MOVED)
    scale /= np.exp(np.log(scale).mean())  # as large as before, on the whole
    change_rows(linear[0].inputs[1], lambda columns: columns / scale)
    change_whole(weight, lambda array: array * scale[:, None])
    inputs.divide(scale)
    return True


def _not_too_small(sizes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.maximum(sizes, _SMALLEST * np.median(sizes) + np.finfo(np.float32).tiny)
