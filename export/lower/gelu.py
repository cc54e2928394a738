"""GELU in one node."""

import math

import numpy as np
import onnx_ir as ir

from lager_onnx.export.passes.building import replace
from lager_onnx.export.passes.parts import is_constant

_CUBE = 0.044715


class FuseGeluPass(ir.passes.InPlacePass):
    """Fuses the activation of Gemma's MLPs, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).

    before: x ─ x * x ─ * x ─ * 0.044715 ─ + x ─ * sqrt(2 / pi) ─ Tanh ─ + 1 ─ * x ─ * 0.5
    after:  x ─ FastGelu

    onnxruntime fuses it in float32 by itself; in 16 bits, the cube of a large x would overflow.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it; another use of tanh is left alone."""
        graph = model.graph
        found = [pair for pair in (_gelu(node) for node in graph if node.op_type == "Tanh") if pair]
        for x, result in found:
            replace(graph, {result: 0}, "FastGelu", [x], domain="com.microsoft")
        graph.sort()
        return ir.passes.PassResult(model, modified=bool(found))


def _gelu(tanh: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """What goes into the activation that a Tanh is part of, and what comes out."""
    inner = _without(tanh.inputs[0], "Mul", math.sqrt(2 / math.pi))
    addition = inner.producer() if inner is not None else None
    if addition is None or addition.op_type != "Add":
        return None
    for x, term in (addition.inputs, addition.inputs[::-1]):
        cube = _without(term, "Mul", _CUBE)
        square = _other(cube, "Mul", x)
        if x is None or square is None or _other(square, "Mul", x) is not x:
            continue
        value: ir.Value | None = tanh.outputs[0]
        for op_type, operand in (("Add", 1.0), ("Mul", x), ("Mul", 0.5)):
            value = _next(value, op_type, operand)
        if value is not None:
            return x, value
    return None


def _other(value: ir.Value | None, op_type: str, known: ir.Value | None) -> ir.Value | None:
    """The other operand of the node that makes `value`, if it is of this type and one is known."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != op_type or known not in node.inputs:
        return None
    return node.inputs[1 - node.inputs.index(known)]


def _without(value: ir.Value | None, op_type: str, number: float) -> ir.Value | None:
    """The other operand of the node that makes `value`, if it is of this type and one is a constant."""
    node = value.producer() if value is not None else None
    for operand in node.inputs if node is not None else ():
        if _is_number(operand, number):
            return _other(value, op_type, operand)
    return None


def _next(value: ir.Value | None, op_type: str, operand: ir.Value | float) -> ir.Value | None:
    """The result of the only node that reads `value`, if it is of this type and has this other operand."""
    uses = list(value.uses()) if value is not None else []
    if len(uses) != 1 or uses[0].node.op_type != op_type:
        return None
    other = uses[0].node.inputs[1 - uses[0].idx]
    matches = _is_number(other, operand) if isinstance(operand, float) else other is operand
    return uses[0].node.outputs[0] if matches else None


def _is_number(value: ir.Value | None, number: float) -> bool:
    if value is None or not is_constant(value) or value.const_value is None or value.const_value.size != 1:
        return False
    return bool(np.isclose(value.const_value.numpy().item(), number, rtol=1e-5))
