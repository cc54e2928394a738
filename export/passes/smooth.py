"""Moves scale from the channels behind the gate of an MLP into the weight that reads them."""

from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.calibration import InputsOf
from lager_onnx.export.passes.parts import numpy_of, projections, reads_gate, set_numpy

_MOVED: Final = 0.7  # share of the scale; chosen by measurement (BENCHMARKS.md)
# Of the median. A channel that is silent over calibration text is not made large, since it may speak elsewhere.
_SMALLEST: Final = 0.1


class SmoothPass(ir.passes.InPlacePass):
    """Divides every channel behind a gate by s, and multiplies the row of the weight that reads it by s.

    The largest channels of a row decide how finely all others are rounded. With s = channel^0.7 / row^0.3, sizes as
    root mean squares, most of what makes a channel large goes into the weight, whose columns are rounded apart:

        before: x ┬ MatMul(G) ─ activation ┬ Mul ─ MatMul(W)
                  └ MatMul(U) ─────────────┘
        after:  the same, with U / s (a number a column) and s W (a number a row)

    An exact rewrite. An MLP that has biases, or one product for G and U, is left as it is. Source: SmoothQuant,
    arXiv 2211.10438, equation 4, which has maxima where we have root mean squares.

    Args:
        inputs: what a projection reads over calibration text.
    """

    def __init__(self, inputs: InputsOf):
        self.inputs = inputs

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        found = projections(model.graph)
        modified = False
        for node in (node for node in found if reads_gate(node)):
            x, weight = node.inputs
            assert x is not None
            gate = x.producer()
            assert gate is not None
            makers = [operand.producer() for operand in gate.inputs if operand is not None]
            linear = [maker for maker in makers if maker in found]
            if len(linear) != 1:
                continue
            channels = _not_too_small(self.inputs(x).sizes)
            rows = _not_too_small(np.sqrt((numpy_of(weight) ** 2).mean(axis=1)))
            scale = channels**_MOVED / rows ** (1 - _MOVED)
            scale /= np.exp(np.log(scale).mean())  # as large as before, on the whole
            up = linear[0].inputs[1]
            set_numpy(up, numpy_of(up) / scale)
            set_numpy(weight, numpy_of(weight) * scale[:, None])
            modified = True
        return ir.passes.PassResult(model, modified=modified)


def _not_too_small(sizes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.maximum(sizes, _SMALLEST * np.median(sizes) + np.finfo(np.float32).tiny)
