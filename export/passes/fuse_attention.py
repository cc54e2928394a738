"""Attention in one node."""

import onnx_ir as ir

from lager_onnx.export.anatomy import data_inputs
from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.rotary import Array
from lager_onnx.models.attention import Attention
from lager_onnx.models.errors import ExportError

_HEAD_SIZES = 16  # the CPU's GroupQueryAttention turns heads of multiples of this size only


class FuseAttentionPass(ir.passes.InPlacePass):
    """Replaces all between the projections of queries, keys and values and the output projection.

    Before, with masks of (batch, 1, sequence, sequence) and keys repeated for every query head:

        q ─ heads ─ (norm) ─ rotary ─────────────────┐
        k ─ heads ─ (norm) ─ rotary ─ repeat ─ MatMul┴─ scale ─ (cap) ─ mask ─ Softmax ─┐
        v ─ heads ─ repeat ─────────────────────────────────────────────────────MatMul──┴─ merge ─ o

    After:

        q, k, v (batch, sequence, heads * size) ─ GroupQueryAttention(lengths, rotary tables) ─ o

    Lengths come from the attention mask; what stands on the right of a row's last token is never seen by it.
    Norms on heads (Qwen 3, Gemma 3) stay nodes of their own before the fused one.
    """

    def __init__(self, outputs: list[ir.Node], attentions: list[Attention], tables: dict[str, tuple[Array, Array]]):
        self.outputs, self.attentions, self.tables = outputs, attentions, tables

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        if any(attention.head_size % _HEAD_SIZES for attention in self.attentions):
            return ir.passes.PassResult(model, modified=False)
        graph = model.graph
        model.opset_imports["com.microsoft"] = 1
        lengths = _lengths(graph)
        for layer, (output, attention) in enumerate(zip(self.outputs, self.attentions, strict=True)):
            projected = [_flat(graph, operand, layer) for operand in _operands(output, layer)]
            tables: list[ir.Value] = []
            if attention.rotary:
                pair = zip(("cos", "sin"), self.tables[attention.rotary], strict=True)
                tables = [constant(graph, f"lager.{name}.{attention.rotary}", table) for name, table in pair]
            fused = op(
                graph,
                "GroupQueryAttention",
                *projected,
                None,
                None,
                *lengths,
                *tables,
                domain="com.microsoft",
                name=f"lager.attention.{layer}",
                num_heads=attention.num_heads,
                kv_num_heads=attention.kv_num_heads,
                scale=attention.scale,
                softcap=attention.softcap,
                local_window_size=attention.window or -1,
                do_rotary=int(bool(attention.rotary)),
            )
            output.replace_input_with(0, fused)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


def _lengths(graph: ir.Graph) -> tuple[ir.Value, ir.Value]:
    """Index of every row's last token (batch,), and the padded length (), both int32."""
    inputs = {value.name: value for value in graph.inputs}
    length = op(graph, "ReduceSum", inputs["attention_mask"], constant(graph, "lager.axis_1", [1]), keepdims=0)
    last = op(graph, "Sub", length, constant(graph, "lager.one", 1))
    total = op(graph, "Squeeze", op(graph, "Shape", inputs["input_ids"], start=1, end=2))
    return tuple(op(graph, "Cast", value, to=ir.DataType.INT32) for value in (last, total))  # type: ignore[return-value]


def _operands(output: ir.Node, layer: int) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Queries, keys and values as they enter the two products of a layer's attention."""
    weighted = _back(output.inputs[0], {"MatMul"}, layer)
    products = _back(weighted.inputs[0], {"MatMul"}, layer)
    queries, keys, values = products.inputs[0], products.inputs[1], weighted.inputs[1]
    assert queries is not None
    assert keys is not None
    assert values is not None
    return queries, keys, values


def _back(value: ir.Value | None, op_types: set[str], layer: int) -> ir.Node:
    """The first node of one of `op_types` on the way back along first computed inputs."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type not in op_types:
        sources = data_inputs(node)
        node = sources[0].producer() if sources else None
    if node is None:
        raise ExportError(f"looked for {' or '.join(sorted(op_types))} in the attention of layer {layer}, found none")
    return node


def _flat(graph: ir.Graph, operand: ir.Value, layer: int) -> ir.Value:
    """Queries, keys or values of all heads side by side, (batch, sequence, heads * size), before the rotary embedding.

    The way back from `operand` runs: (repeat) ─ (rotary) ─ (norm) ─ Transpose ─ (norm) ─ Reshape ─ projection.
    """
    way: list[ir.Node] = []
    node = operand.producer()
    while node is not None and node.op_type != "MatMul":
        way.append(node)
        sources = data_inputs(node)
        node = sources[0].producer() if sources else None
    views = [index for index, step in enumerate(way) if step.op_type == "Reshape"]
    turns = [index for index, step in enumerate(way) if step.op_type == "Transpose"]
    if node is None or not views or not turns:
        raise ExportError(f"the projections of layer {layer} are not cut into heads by Reshape and Transpose")
    view, turn = views[-1], turns[-1]
    heads = way[view].outputs[0]  # (batch, sequence, heads, size)
    flat = way[view].inputs[0]
    assert flat is not None
    if turn + 1 < view:  # normed before the Transpose
        normed = way[turn].inputs[0]
        assert normed is not None
    else:
        normed = _normed_after(way[turn], heads)
        if normed is None:
            return flat
    return op(graph, "Reshape", normed, constant(graph, "lager.merge_heads", [0, 0, -1]))


def _normed_after(turn: ir.Node, heads: ir.Value) -> ir.Value | None:
    """Output of a norm that follows the Transpose, fed from before it; None where no norm does.

    A norm works along the last axis, so it gives the same on (batch, sequence, heads, size).
    """
    turned = turn.outputs[0]
    if not any(use.node.op_type == "Pow" for use in turned.uses()):
        return None
    uses = [(use.node, use.idx) for use in turned.uses()]
    for node, index in uses:
        node.replace_input_with(index, heads)
    scaled = next(node for node, _ in uses if node.op_type == "Mul")  # x / rms
    (weighted,) = (use.node for use in scaled.outputs[0].uses())  # times the weight
    return weighted.outputs[0]
