"""Weights and activations in 8 bits."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.calibration import Inputs, InputsOf
from lager_onnx.export.gptq import quantize_weight
from lager_onnx.export.passes.building import constant, initializer, op, substitute
from lager_onnx.export.passes.parts import numpy_of, projections, reads_norm


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
_ZERO_POINT: Final = np.uint8(128)
_OPSET, _IR_VERSION = 21, 10  # the first with a scale for every block of a tensor; nothing else that we use changed


class Products8BitPass(ir.passes.InPlacePass):
    """Multiplies in 8 bits: activations unsigned, weights signed, sums in 32 bits.

    Every row has its own scale, so a token's numbers do not depend on those beside it:

        before: x ─ MatMul(W)
        after:  x ┬ Abs ─ ReduceMax ─ Mul(1 / 127) ─ s ─────────────┐
                  └ QuantizeLinear(s) ─ MatMulIntegerToFloat(Q) ─ Mul(s)

    Where the stream is `rotated`, rows behind its norms are all alike, and one scale for all of them does. Half of
    their energy is the same for every token of a text: only what differs from that mean is rounded, and the mean's
    product is added as a bias b:

        after:  x ─ Sub(mean) ─ QuantizeLinear ─ MatMulIntegerToFloat(Q, b)

    Args:
        inputs: what a projection reads over calibration text.
        rotated: whether the residual stream is.
    """

    def __init__(self, inputs: InputsOf, *, rotated: bool):
        self.inputs, self.rotated = inputs, rotated

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        graph.opset_imports[""], model.ir_version = _OPSET, _IR_VERSION
        made: dict[ir.Value, Rows] = {}
        for node in projections(graph):
            x, weight = node.inputs
            assert x is not None
            assert weight is not None
            seen = self.inputs(x)
            if x not in made:
                alike = self.rotated and reads_norm(node) and seen.rows >= _ENOUGH_ROWS
                made[x] = _centred(graph, x, seen) if alike else _rows(graph, x, numpy_of(weight).shape[0])
            product = _product(graph, made[x], weight, *quantize_weight(numpy_of(weight), seen.moments))
            substitute(graph, node, product)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


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
) -> ir.Value:
    inputs: list[ir.Value | None] = [
        rows.quantized,
        initializer(graph, f"{weight.name}.int8", quantized),
        rows.scale,
        initializer(graph, f"{weight.name}.scales", scales[0]),
        _zero_point(graph),
    ]
    if rows.mean is not None:
        inputs += [None, initializer(graph, f"{weight.name}.bias", rows.mean @ (quantized * scales[0]))]
    product = op(graph, "MatMulIntegerToFloat", *inputs, domain=_CONTRIB)
    return product if rows.own_scale is None else op(graph, "Mul", product, rows.own_scale)


def _zero_point(graph: ir.Graph) -> ir.Value:
    return initializer(graph, "lager.zero_point", _ZERO_POINT)
