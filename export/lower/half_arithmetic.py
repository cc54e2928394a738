"""Multiplies in 16 bits and adds in 32: for GPUs."""

import onnx_ir as ir

from lager_onnx.export.decoder.roles import projections
from lager_onnx.export.passes.building import op
from lager_onnx.export.passes.parts import is_constant
from lager_onnx.export.weights import narrowed

_LENGTHS = (5, 6)  # inputs of GroupQueryAttention that are integers
_GATES = ("QuickGelu", "Gelu", "FastGelu", "Mul")


class HalfArithmeticPass(ir.passes.InPlacePass):
    """Lets projections and attention work in fp16 or bf16; the residual stream, norms and head keep float32.

        before: h ─ norm ─ MatMul ─ attention ─ MatMul ─ + h
        after:  h ─ norm ─ Cast(16) ─ MatMul ─ attention ─ MatMul ─ Cast(32) ─ + h

    So what is added up over the layers cannot overflow in fp16, and norms of it are exact. A single product may still
    overflow in fp16: bf16 cannot, so there the gate of an MLP and its product, which are between products in 16 bits,
    are so too. Keys and values are cached in 16 bits. Casts that undo each other are left out.
    """

    def __init__(self, dtype: ir.DataType):
        self.dtype = dtype
        self._narrow: dict[ir.Value, ir.Value] = {}

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        products = set(projections(graph))
        nodes = [node for node in graph if node in products or node.op_type == "GroupQueryAttention"]
        for node in nodes:
            for index, value in enumerate(node.inputs):
                if value is not None and not (node not in products and index in _LENGTHS):
                    node.replace_input_with(index, self._narrowed(graph, value))
            self._widen(graph, node.outputs[0])
            for present in node.outputs[1:]:
                present.type = ir.TensorType(self.dtype)
        if self.dtype == ir.DataType.BFLOAT16:
            self._narrow_gates(graph)
        graph.sort()
        return ir.passes.PassResult(model, modified=bool(nodes))

    def _narrow_gates(self, graph: ir.Graph) -> None:
        """Gates read products in 16 bits, in the order of the graph: the activation, then its product."""
        for node in list(graph):
            narrow = [self._narrow.get(value) for value in node.inputs if value is not None]
            if node.op_type in _GATES and all(narrow):
                for index, value in enumerate(narrow):
                    node.replace_input_with(index, value)
                self._widen(graph, node.outputs[0])

    def _narrowed(self, graph: ir.Graph, value: ir.Value) -> ir.Value:
        """A value in 16 bits: a weight or a cached state is stored so, another one is cast once."""
        if value in self._narrow:
            return self._narrow[value]
        stored = _stored(value)
        if stored is None:
            self._narrow[value] = op(graph, "Cast", value, to=self.dtype)
        else:
            if stored.const_value is not None and stored.const_value.dtype == ir.DataType.FLOAT:
                stored.const_value = narrowed(stored.const_value, self.dtype)
            stored.type = ir.TensorType(self.dtype)
            self._narrow[value] = value
        return self._narrow[value]

    def _widen(self, graph: ir.Graph, value: ir.Value) -> None:
        uses = [(use.node, use.idx) for use in value.uses()]
        widened = op(graph, "Cast", value, to=ir.DataType.FLOAT)
        widened.shape, widened.type = value.shape, value.type
        value.type = ir.TensorType(self.dtype)
        for user, index in uses:
            if user.op_type == "Cast" and user.outputs[0].dtype == self.dtype:
                user.outputs[0].replace_all_uses_with(value)
            else:
                user.replace_input_with(index, widened)
        self._narrow[widened] = value


def _stored(value: ir.Value) -> ir.Value | None:
    """The weight that a value is, or the graph's input that it shows in another shape."""
    if is_constant(value) or value.is_graph_input():
        return value
    producer = value.producer()
    if producer is not None and producer.op_type == "Reshape" and producer.inputs[0] is not None:
        return producer.inputs[0] if producer.inputs[0].is_graph_input() else None
    return None
