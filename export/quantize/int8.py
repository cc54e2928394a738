"""Weights and activations in 8 bits."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.calibrate.inputs import Inputs
from lager_onnx.export.decoder.roles import READERS, role_of
from lager_onnx.export.passes.building import constant, initializer, op, substitute
from lager_onnx.export.quantize.gptq import quantize_weight
from lager_onnx.export.weights import numpy_of, shape_of


@dataclass(frozen=True)
class Rows:
    """Rows in 8 bits: x is about `quantized` * `scale` (* `own_scale` of the row) (+ `mean` of the channels)."""

    quantized: ir.Value
    scale: ir.Value  # ()
    own_scale: ir.Value | None = None  # (batch, sequence, 1)
    mean: npt.NDArray[np.float32] | None = None


_CONTRIB = "com.microsoft"
# Rows of a rotated stream behind its norm are close to normally distributed. Of such, 8 bits lose least when cut off
# at so many standard deviations; larger values are 1 in 16,000.
_NORMED_RANGE: Final = 4.0
_ENOUGH_ROWS: Final = 256  # to know mean and deviation by; the last layer reads one row a prompt
_SMALLEST: Final = 1e-12
_BLOCK_OF_ROWS: Final = 1024
_ZERO_POINT: Final = np.uint8(128)
_OPSET, _IR_VERSION = 21, 10  # the first with a scale for every block of a tensor; nothing else that we use changed


class Int8Rounding:
    """Lets products multiply in 8 bits: activations unsigned, weights signed, sums in 32 bits.

    Every row has its own scale, so a token's numbers do not depend on those beside it:

        before: x ─ MatMul(W)
        after:  x ┬ Abs ─ ReduceMax ─ Mul(1 / 127) ─ s ─────────────┐
                  └ QuantizeLinear(s) ─ MatMulIntegerToFloat(Q) ─ Mul(s)

    Where the stream is `rotated`, rows behind its norms are all alike, and one scale for all of them does. Half of
    their energy is the same for every token of a text: only what differs from that mean is rounded, and the mean's
    product is added as a bias b:

        after:  x ─ Sub(mean) ─ QuantizeLinear ─ MatMulIntegerToFloat(Q, b)

    Args:
        graph: whose products are rounded; the caller sorts it when it is done.
        rotated: whether the residual stream is.
    """

    def __init__(self, graph: ir.Graph, *, rotated: bool):
        self._graph, self._rotated = graph, rotated
        self._made: dict[ir.Value, Rows] = {}

    def round(self, node: ir.Node, inputs: Inputs) -> list[ir.Value]:
        """Puts a product in 8 bits in the place of a MatMul; returns the initializers that hold its weight.

        Args:
            node: the MatMul.
            inputs: what it reads over calibration text; its moments are overwritten.
        """
        x, weight = node.inputs
        assert x is not None
        assert weight is not None
        if x not in self._made:
            role = role_of(node)
            alike = self._rotated and role is not None and role.part in READERS and inputs.rows >= _ENOUGH_ROWS
            rows = _centred(self._graph, x, inputs) if alike else _rows(self._graph, x, shape_of(weight)[0])
            self._made[x] = rows
        product, stored = _product(
            self._graph, self._made[x], weight, *quantize_weight(numpy_of(weight), inputs.moments)
        )
        substitute(self._graph, node, product)
        return stored


def use_blocks(model: ir.Model) -> None:
    """Lets a graph have scales for every block of a tensor, which it needs once its rows are rounded."""
    model.graph.opset_imports[""], model.ir_version = _OPSET, _IR_VERSION


def _centred(graph: ir.Graph, x: ir.Value, seen: Inputs) -> Rows:
    scale = initializer(graph, f"{x.name}.scale", np.float32(max(_NORMED_RANGE * seen.deviation / 127, _SMALLEST)))
    centred = op(graph, "Sub", x, initializer(graph, f"{x.name}.mean", seen.mean))
    return Rows(op(graph, "QuantizeLinear", centred, scale, _zero_point(graph)), scale, mean=seen.mean)


def _rows(graph: ir.Graph, x: ir.Value, width: int) -> Rows:
    largest = op(graph, "ReduceMax", op(graph, "Abs", x), constant(graph, "lager.axis_last", [-1]), keepdims=1)
    # A row of zeros has scale 0: whatever 8 bits its 0 / 0 becomes, they are multiplied by 0.
    scale = op(graph, "Mul", largest, constant(graph, "lager.row_step", 1 / 127))
    zero_points = op(graph, "ConstantOfShape", op(graph, "Shape", scale), value=ir.tensor(np.full(1, _ZERO_POINT)))
    quantized = op(graph, "QuantizeLinear", x, scale, zero_points, axis=-1, block_size=width)
    return Rows(quantized, constant(graph, "lager.scale_1", 1.0), own_scale=scale)


def _product(
    graph: ir.Graph, rows: Rows, weight: ir.Value, quantized: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
) -> tuple[ir.Value, list[ir.Value]]:
    stored = [
        initializer(graph, f"{weight.name}.int8", quantized), initializer(graph, f"{weight.name}.scales", scales[0])
    ]  # fmt: skip
    inputs: list[ir.Value | None] = [rows.quantized, stored[0], rows.scale, stored[1], _zero_point(graph)]
    if rows.mean is not None:
        bias = initializer(graph, f"{weight.name}.bias", _times(rows.mean, quantized) * scales[0])
        inputs, stored = [*inputs, None, bias], [*stored, bias]
    product = op(graph, "MatMulIntegerToFloat", *inputs, domain=_CONTRIB)
    return product if rows.own_scale is None else op(graph, "Mul", product, rows.own_scale), stored


def _times(row: npt.NDArray[np.float32], quantized: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """A product with a matrix of which no copy in float32 is made."""
    total = np.zeros(quantized.shape[1], np.float32)
    for first in range(0, len(row), _BLOCK_OF_ROWS):
        some = slice(first, first + _BLOCK_OF_ROWS)
        total += row[some] @ quantized[some].astype(np.float32)
    return total


def _zero_point(graph: ir.Graph) -> ir.Value:
    return initializer(graph, "lager.zero_point", _ZERO_POINT)
