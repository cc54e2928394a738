"""One matrix product for queries, keys and values."""

import onnx_ir as ir

from lager_onnx.export.decoder.roles import Role, role_of, set_role
from lager_onnx.export.passes.building import op
from lager_onnx.export.weights import side_by_side, tensor_of


class MergeProjectionsPass(ir.passes.InPlacePass):
    """Joins the projections that feed a fused attention, where nothing but a bias stands between.

    before: x ─ MatMul(q) ─┐                      after: x ─ MatMul(q, k, v side by side) ─ GroupQueryAttention
            x ─ MatMul(k) ─┼ GroupQueryAttention
            x ─ MatMul(v) ─┘
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        merged = False
        for node in list(graph):
            if node.op_type != "GroupQueryAttention":
                continue
            parts = [_projection(value) for value in node.inputs[:3]]
            if None in parts or len({part[0] for part in parts if part}) != 1:
                continue
            x = parts[0][0]  # type: ignore[index]
            name = (node.outputs[0].name or "").removeprefix("lager.")  # a weight of the body
            packed = op(graph, "MatMul", x, _side_by_side(graph, [part[1] for part in parts if part], f"{name}.qkv"))
            role, product = role_of(parts[0][3]), packed.producer()  # type: ignore[index]
            if role is not None and product is not None:
                set_role(product, Role(role.layer, "qkv"))
            biases = [part[2] for part in parts if part and part[2] is not None]
            if biases:
                packed = op(graph, "Add", packed, _side_by_side(graph, biases, f"{name}.qkv_bias"))
            for index, value in enumerate((packed, None, None)):
                node.replace_input_with(index, value)
            merged = True
        graph.sort()
        return ir.passes.PassResult(model, modified=merged)


def _projection(value: ir.Value | None) -> tuple[ir.Value, ir.Value, ir.Value | None, ir.Node] | None:
    """Input, weight and bias of the projection that makes `value`, and itself; None where it is made otherwise."""
    node, bias = (value.producer() if value is not None else None), None
    if node is not None and node.op_type == "Add":
        constants = [operand for operand in node.inputs if operand is not None and operand.const_value is not None]
        products = [operand for operand in node.inputs if operand is not None and operand.const_value is None]
        if len(constants) != 1 or len(products) != 1:
            return None
        bias, node = constants[0], products[0].producer()
    if node is None or node.op_type != "MatMul":
        return None
    x, weight = node.inputs
    if x is None or weight is None or weight.const_value is None:
        return None
    return x, weight, bias, node


def _side_by_side(graph: ir.Graph, parts: list[ir.Value], name: str) -> ir.Value:
    """An initializer that holds `parts` along their last axis."""
    joined = side_by_side(name, [tensor_of(part) for part in parts])
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=joined.shape, const_value=joined)
    graph.register_initializer(value)
    return value
