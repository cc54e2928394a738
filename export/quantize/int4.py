"""Weights in blocks of few bits."""

from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.calibrate.inputs import Inputs
from lager_onnx.export.lower.weight_precision import DTYPES
from lager_onnx.export.passes.building import initializer, op, substitute
from lager_onnx.export.quantize.gptq import quantize_weight
from lager_onnx.export.weights import numpy_of, shape_of
from lager_onnx.models.precisions import Precision

_CONTRIB = "com.microsoft"
_BITS, _BLOCK = 4, 32
_FLOATS: Final = 0  # accuracy levels of MatMulNBits
_INT8_ACTIVATIONS: Final = 4


class Int4Rounding:
    """Stores matrices in 4 bits, with a scale for every 32 inputs of an output.

        before: x ─ MatMul(W)
        after:  x ─ MatMulNBits(W in blocks)

    Args:
        graph: whose products are rounded; the caller sorts it when it is done.
        arithmetic: what products multiply in. In 16 bits, scales are of that type; in float32, blocks of activations
            are rounded to 8 bits, so that products are of integers.
    """

    def __init__(self, graph: ir.Graph, arithmetic: Precision = "fp32"):
        self._graph = graph
        self._dtype = DTYPES.get(arithmetic, ir.DataType.FLOAT)
        self._accuracy = _FLOATS if arithmetic in DTYPES else _INT8_ACTIVATIONS

    def round(self, node: ir.Node, inputs: Inputs) -> list[ir.Value]:
        """Puts a product in blocks in the place of a MatMul; see `Int8Rounding.round`."""
        x, weight = node.inputs
        assert weight is not None
        rows, columns = shape_of(weight)
        quantized, scales = quantize_weight(numpy_of(weight), inputs.moments, bits=_BITS, block=_BLOCK)
        stored = [
            initializer(self._graph, f"{weight.name}.int4", _packed(quantized)),
            initializer(
                self._graph, f"{weight.name}.scales", np.ascontiguousarray(scales.T.astype(self._dtype.numpy()))
            ),
        ]
        product = op(
            self._graph, "MatMulNBits", x, *stored, domain=_CONTRIB,
            K=rows, N=columns, bits=_BITS, block_size=_BLOCK, accuracy_level=self._accuracy,
        )  # fmt: skip
        substitute(self._graph, node, product)
        return stored


def _packed(quantized: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """As MatMulNBits wants them: (out, blocks, bytes of a block), two weights a byte, 8 for zero."""
    rows, columns = quantized.shape
    blocks = -(-rows // _BLOCK)
    shifted = np.full((columns, blocks * _BLOCK), 8, dtype=np.uint8)
    shifted[:, :rows] = quantized.T + 8
    pairs: npt.NDArray[np.uint8] = shifted[:, 0::2] | (shifted[:, 1::2] << 4)
    return pairs.reshape(columns, blocks, _BLOCK // 2)
