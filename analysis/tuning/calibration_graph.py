"""Puts a calibration into a judge's graph, behind its score, or takes it out."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from lager_onnx.models.calibration import Calibration

_RAW: Final = "lager.uncalibrated."
_SCORE, _PROBABILITIES = "score", "probabilities"


def set_calibration(model: ir.Model, calibration: Calibration | None, values: Sequence[float]) -> None:
    """Lets the graph give calibrated scores, and distributions whose expected values they are; or plain ones, for None.

    Before: probabilities P (batch, K), score m (batch,).
    After, with the formulas of `calibrated_score` and `move` in models/method.py:

        m ─ corners ─► score c            P, m, c ─ move ─► probabilities

    Args:
        model: a judge's graph, changed in place; a calibration that is there goes.
        calibration: the new one.
        values: of the scale, (K,).
    """
    graph = model.graph
    _take_out(graph)
    RemoveUnusedNodesPass()(model)
    if calibration is not None:
        _put_in(graph, calibration, np.asarray(values, np.float32))
        graph.sort()


def _take_out(graph: ir.Graph) -> None:
    values = {str(value.name): value for node in graph for value in node.outputs}
    for name in (_SCORE, _PROBABILITIES):
        if _RAW + name in values:
            _set_output(graph, name, values[_RAW + name])


def _set_output(graph: ir.Graph, name: str, value: ir.Value) -> None:
    """Makes a value the output of that name; the one that was it keeps none."""
    index = next(index for index, output in enumerate(graph.outputs) if output.name == name)
    old = graph.outputs[index]
    old.name, value.name, value.shape, value.type = None, name, old.shape, old.type
    graph.outputs[index] = value


def _put_in(graph: ir.Graph, calibration: Calibration, values: Any) -> None:
    outputs = {str(output.name): output for output in graph.outputs}
    m, p = outputs[_SCORE], outputs[_PROBABILITIES]
    xs, ys = np.asarray(calibration.scores), np.asarray(calibration.labels)

    def number(name: str, value: Any, dtype: Any = np.float32) -> ir.Value:
        return _constant(graph, f"lager.calibration.{name}", np.asarray(value, dtype))

    def op(kind: str, *inputs: ir.Value) -> ir.Value:
        node = ir.node(kind, inputs)
        graph.append(node)
        return node.outputs[0]

    axis, row = number("last_axis", [-1], np.int64), number("row_axis", [1], np.int64)
    zero, one, tiny = number("zero", 0), number("one", 1), number("tiny", np.finfo(np.float32).eps)
    m1 = op("Unsqueeze", m, axis)  # (batch, 1)
    # Every stretch between two corners adds its slope times how far the score goes into it.
    inside = op("Min", op("Max", op("Sub", m1, number("starts", xs[:-1])), zero), number("widths", np.diff(xs)))
    c = op("Add", op("MatMul", inside, number("slopes", np.diff(ys) / np.diff(xs))), number("first", ys[0]))
    c1 = op("Unsqueeze", c, axis)
    lowest, highest = number("lowest", values.min()), number("highest", values.max())
    above = op("Div", op("Sub", highest, c1), op("Max", op("Sub", highest, m1), tiny))
    below = op("Div", op("Sub", c1, lowest), op("Max", op("Sub", m1, lowest), tiny))
    k = op("Min", one, above, below)
    places = op("Add", c1, op("Mul", k, op("Sub", number("values", values), m1)))  # (batch, K)
    places = op("Unsqueeze", places, axis)
    order = np.argsort(values)
    v = values[order]
    left, right = np.empty_like(v), np.empty_like(v)
    left[order], right[order] = np.append(v[0] - 1, v[:-1]), np.append(v[1:], v[-1] + 1)
    up = op("Div", op("Sub", places, number("left", left)), number("up", values - left))
    down = op("Div", op("Sub", number("right", right), places), number("down", right - values))
    shares = op("Max", op("Min", up, down), zero)  # (batch, K, K)
    moved = op("Squeeze", op("MatMul", op("Unsqueeze", p, row), shares), row)
    for name, raw, new in ((_SCORE, m, c), (_PROBABILITIES, p, moved)):
        _set_output(graph, name, new)
        raw.name = _RAW + name


def _constant(graph: ir.Graph, name: str, array: Any) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))
    graph.register_initializer(value)
    return value
