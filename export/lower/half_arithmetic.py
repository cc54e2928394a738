"""Multiplies in 16 bits and adds in 32: for GPUs."""

import math
from collections.abc import Mapping
from typing import Final

import onnx_ir as ir

from lager_onnx.export.decoder.roles import projections
from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.passes.parts import is_constant
from lager_onnx.export.weights import narrowed

_LENGTHS: Final = (5, 6)  # inputs of GroupQueryAttention that are integers
_GATES: Final = ("QuickGelu", "Gelu", "FastGelu", "Mul", "Add", "Slice")
_LARGEST: Final = 65504.0  # in fp16
# An export reads a hundred short texts; what others lead to may be so much larger.
_HEADROOM: Final = 8.0


class HalfArithmeticPass(ir.passes.InPlacePass):
    """Lets projections and attention work in fp16 or bf16; the residual stream, norms and head keep float32.

        before: h ─ norm ─ MatMul ─ attention ─ MatMul ─ + h
        after:  h ─ norm ─ Cast(16) ─ MatMul ─ attention ─ MatMul ─ Cast(32) ─ + h

    So what is added up over the layers cannot overflow in fp16, and norms of it are exact. What stands between two
    products, biases and the gate of an MLP, is in 16 bits too. Casts that undo each other are left out.

    In fp16, what goes into an MLP's last product and what comes out may overflow. Where it may, the gate's product
    stays in float32, and a power of two is taken out of it before the last product and put back behind:

        before: gate * up ─ Cast(16) ─ MatMul ─ Cast(32)
        after:  gate * up ─ * 1/s ─ Cast(16) ─ MatMul ─ Cast(32) ─ * s

    Args:
        dtype: of the products.
        largest: the largest number seen in an MLP's last product, going in or coming out, by the name of its output;
            only fp16 asks for it.
    """

    def __init__(self, dtype: ir.DataType, largest: Mapping[str, float] | None = None):
        self.dtype = dtype
        self._largest = (largest or {}) if dtype == ir.DataType.FLOAT16 else {}
        self._narrow: dict[ir.Value, ir.Value] = {}

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        products = set(projections(graph))
        for node in products:
            self._scale(graph, node)
        nodes = [node for node in graph if node in products or node.op_type == "GroupQueryAttention"]
        for node in nodes:
            for index, value in enumerate(node.inputs):
                lengths = node not in products and index in _LENGTHS
                if value is not None and not lengths and not _is_packed(value):
                    node.replace_input_with(index, self._narrowed(graph, value))
            self._widen(graph, node.outputs[0])
            for present in node.outputs[1:]:
                present.type = ir.TensorType(self.dtype)
        graph.sort()
        self._narrow_between(graph)
        graph.sort()
        return ir.passes.PassResult(model, modified=bool(nodes))

    def _scale(self, graph: ir.Graph, node: ir.Node) -> None:
        """Takes a power of two out of a product that may overflow, and puts it back."""
        ratio = _HEADROOM * self._largest.get(str(node.outputs[0].name), 0.0) / _LARGEST
        if ratio <= 1 or node.inputs[0] is None:
            return
        scale = 2.0 ** math.ceil(math.log2(ratio))
        down, up = (constant(graph, f"lager.scale_{factor}", factor) for factor in (1 / scale, scale))
        scaled = op(graph, "Mul", down, node.inputs[0])
        scaled.shape, scaled.type = node.inputs[0].shape, node.inputs[0].type
        node.replace_input_with(0, scaled)
        output = node.outputs[0]
        uses = [(use.node, use.idx) for use in output.uses()]
        back = op(graph, "Mul", up, output)
        back.shape, back.type = output.shape, output.type
        for user, index in uses:
            user.replace_input_with(index, back)

    def _narrow_between(self, graph: ir.Graph) -> None:
        """Narrows what reads products in 16 bits and is read by others, and by nothing else."""
        wanted: set[ir.Value] = set()
        for node in reversed(list(graph)):
            if node.op_type in _GATES and all(self._wants(use.node, wanted) for use in node.outputs[0].uses()):
                wanted.add(node.outputs[0])
        for node in list(graph):
            if node.outputs[0] not in wanted or self._is_scaling(node):
                continue
            read = [value for value in node.inputs if value is not None and not _is_integer(value)]
            if any(value in self._narrow for value in read) and all(
                value in self._narrow or is_constant(value) for value in read
            ):
                for index, value in enumerate(node.inputs):
                    if value in read:
                        node.replace_input_with(index, self._narrow.get(value) or self._narrow_copy(graph, value))
                self._widen(graph, node.outputs[0])

    def _wants(self, node: ir.Node, wanted: set[ir.Value]) -> bool:
        if node.op_type == "Cast":
            return node.outputs[0].dtype == self.dtype
        return node.outputs[0] in wanted

    def _is_scaling(self, node: ir.Node) -> bool:
        """Whether it belongs to a product that may overflow: it scales it, or is the gate's product before that."""
        names = [str(value.name) for value in node.inputs if value is not None]
        uses = [str(value.name) for use in node.outputs[0].uses() for value in use.node.inputs if value is not None]
        return any(name.startswith("lager.scale_") for name in [*names, *uses])

    def _narrowed(self, graph: ir.Graph, value: ir.Value) -> ir.Value:
        """A value in 16 bits: a weight or a cached state is stored so, another one is cast once."""
        if value in self._narrow:
            return self._narrow[value]
        stored = _stored(value)
        if stored is None:
            self._narrow[value] = op(graph, "Cast", value, to=self.dtype)
            self._narrow[value].type = ir.TensorType(self.dtype)
        else:
            if stored.const_value is not None and stored.const_value.dtype == ir.DataType.FLOAT:
                stored.const_value = narrowed(stored.const_value, self.dtype)
            stored.type = ir.TensorType(self.dtype)
            self._narrow[value] = value
        return self._narrow[value]

    def _narrow_copy(self, graph: ir.Graph, value: ir.Value) -> ir.Value:
        """A constant in 16 bits beside the one in float32, which others may read."""
        name = f"{value.name}.{self.dtype.name.lower()}"
        if name in graph.initializers:
            return graph.initializers[name]
        assert value.const_value is not None
        made = ir.Value(name=name, const_value=narrowed(value.const_value, self.dtype), shape=value.shape)
        made.type = ir.TensorType(self.dtype)
        graph.register_initializer(made)
        return made

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


def _is_packed(value: ir.Value) -> bool:
    """Whether it holds weights of 4 bits."""
    return value.const_value is not None and value.const_value.dtype == ir.DataType.UINT8


def _is_integer(value: ir.Value) -> bool:
    return value.const_value is not None and value.const_value.dtype != ir.DataType.FLOAT
