"""Weights and activations in 8 bits."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.gptq import quantize_weight
from lager_onnx.export.passes.building import constant, initializer, op
from lager_onnx.export.passes.parts import projections, reads_gate, reads_norm

Moments = Callable[[ir.Value], npt.NDArray[np.float32]]

Matrix = tuple[ir.Value, ir.Value]  # in 8 bits, and its scales
Rows = tuple[ir.Value, ir.Value, ir.Value | None]  # in 8 bits, their common scale, what each was divided by

_CONTRIB = "com.microsoft"
# A row of a rotated stream behind its norm is close to normally distributed with deviation 1. Of such, 8 bits lose
# least when cut off here; larger values are 1 in 16,000.
_NORMED_RANGE: Final = 4.0


class QuantizePass(ir.passes.InPlacePass):
    """Multiplies in 8 bits: activations unsigned, weights signed, sums in 32 bits.

    Every row has its own scale, so a token's numbers do not depend on those beside it:

        before: x ─ MatMul(W)
        after:  x ┬ Abs ─ ReduceMax ─ m ───────────────────────────────┐
                  └ Div(m) ─ QuantizeLinear ─ MatMulIntegerToFloat(Q) ─ Mul(m)

    Where the stream is `rotated`, rows behind its norms are all alike, and one scale for all of them does:

        after:  x ─ QuantizeLinear(4 / 127) ─ MatMulIntegerToFloat(Q)

    What the gate of an MLP lets through has rows in which one channel is a thousand times the others. It is kept in
    16 bits, in two halves that are multiplied by the same weights:

        after:  x ┬ Abs ─ ReduceMax ─ m ──────────────────────────────────────────────────────────────┐
                  └ Div(m) ─ QuantizeLinear ┬ upper half ─ MatMulIntegerToFloat(Q) ┐                   │
                                            └ lower half ─ MatMulIntegerToFloat(Q) ┴ Add ─────────── Mul(m)

    Args:
        moments: gives X'X of a projection's input over calibration text, (in, in).
        rotated: whether the residual stream is.
    """

    def __init__(self, moments: Moments, *, rotated: bool):
        self.moments, self.rotated = moments, rotated

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        rows: dict[ir.Value, Rows] = {}
        for node in projections(graph):
            x, weight = node.inputs
            assert x is not None
            assert weight is not None
            assert weight.const_value is not None
            name = weight.name or node.name or ""
            quantized, scales = quantize_weight(weight.const_value.numpy(), self.moments(x))
            matrix = initializer(graph, f"{name}.int8", quantized), initializer(graph, f"{name}.scales", scales)
            if reads_gate(node):
                product = _product_16(graph, x, matrix)
            else:
                if x not in rows:
                    static = self.rotated and reads_norm(node)
                    rows[x] = _normed_rows(graph, x) if static else _rows(graph, x)
                product = _product(graph, rows[x], matrix)
            result = node.outputs[0]
            ir.convenience.replace_all_uses_with(result, product)
            graph.remove(node, safe=True)
            product.name, result.name = result.name, None
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


def _normed_rows(graph: ir.Graph, x: ir.Value) -> Rows:
    scale = initializer(graph, "lager.normed_scale", np.float32(_NORMED_RANGE / 127))
    return op(graph, "QuantizeLinear", x, scale, _zero_point(graph, 128)), scale, None


def _rows(graph: ir.Graph, x: ir.Value) -> Rows:
    largest = _largest(graph, x)
    scale = initializer(graph, "lager.row_scale", np.float32(1 / 127))
    return op(graph, "QuantizeLinear", op(graph, "Div", x, largest), scale, _zero_point(graph, 128)), scale, largest


def _product(graph: ir.Graph, rows: Rows, matrix: Matrix) -> ir.Value:
    quantized, scale, largest = rows
    product = _integer(graph, quantized, scale, matrix, 128)
    return product if largest is None else op(graph, "Mul", product, largest)


def _product_16(graph: ir.Graph, x: ir.Value, matrix: Matrix) -> ir.Value:
    largest = _largest(graph, x)
    scales = [initializer(graph, f"lager.half_{k}", np.float32(k / 32767)) for k in (1, 256)]
    middle = initializer(graph, "lager.zero_point_16", np.uint16(1 << 15))
    wide = op(graph, "QuantizeLinear", op(graph, "Div", x, largest), scales[0], middle, domain=_CONTRIB)
    eight = initializer(graph, "lager.eight", np.uint16(8))
    upper = op(graph, "Cast", op(graph, "BitShift", wide, eight, direction="RIGHT"), to=ir.DataType.UINT8)
    lower = op(graph, "Cast", wide, to=ir.DataType.UINT8)  # keeps the lower 8 bits
    halves = _integer(graph, upper, scales[1], matrix, 128), _integer(graph, lower, scales[0], matrix, 0)
    return op(graph, "Mul", op(graph, "Add", *halves), largest)


def _integer(graph: ir.Graph, x: ir.Value, scale: ir.Value, matrix: Matrix, zero_point: int) -> ir.Value:
    weight, scales = matrix
    zero = _zero_point(graph, zero_point)
    return op(graph, "MatMulIntegerToFloat", x, weight, scale, scales, zero, domain=_CONTRIB)


def _largest(graph: ir.Graph, x: ir.Value) -> ir.Value:
    """Largest absolute value of every row, (batch, sequence, 1)."""
    largest = op(graph, "ReduceMax", op(graph, "Abs", x), constant(graph, "lager.axis_last", [-1]), keepdims=1)
    return op(graph, "Max", largest, constant(graph, "lager.smallest", 1e-12))  # a row of zeros is divided too


def _zero_point(graph: ir.Graph, value: int) -> ir.Value:
    return initializer(graph, f"lager.zero_point_{value}", np.uint8(value))
