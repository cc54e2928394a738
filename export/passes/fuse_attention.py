"""Attention in one node."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from lager_onnx.export.decoder.locate import data_inputs, input_of
from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.sources.source import Array
from lager_onnx.models.attention import Attention
from lager_onnx.models.errors import ExportError

_HEAD_SIZES = 16  # the CPU's GroupQueryAttention turns heads of multiples of this size only
_PAIRS = 8  # and pairs of dimensions in multiples of this


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
        """Rewrites the model in place, as the class draws it; where a layer is of another form, nothing is changed."""
        planned = [[_plan(each, layer) for each in _operands(node, layer)] for layer, node in enumerate(self.outputs)]
        graph = model.graph
        model.opset_imports["com.microsoft"] = 1
        found = lengths(graph)
        layers = zip(self.outputs, self.attentions, planned, strict=True)
        for layer, (output, attention, operands) in enumerate(layers):
            projected = [operand.flat(graph) for operand in operands]
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
                *found,
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


def can_fuse(attentions: list[Attention]) -> bool:
    """Whether these attentions are known, and onnxruntime's kernel takes their heads."""
    return bool(attentions) and not any(attention.head_size % _HEAD_SIZES for attention in attentions)


def can_turn(tables: Mapping[str, tuple[Array, Array]]) -> bool:
    """Return whether onnxruntime's kernel takes these rotary tables: their halves of a head are multiples of 8."""
    return not any(cos.shape[1] % _PAIRS for cos, _ in tables.values())


@dataclass(frozen=True)
class _Operand:
    """Queries, keys or values of one layer, cut into heads.

    Attributes:
        cut: the Reshape that cuts the projection into heads, (batch, sequence, heads, size).
        turn: the Transpose behind it.
        normed: where a norm on heads stands before the Transpose, its output.
        norm_behind: where one stands behind it, its first and its last node.
    """

    cut: ir.Node
    turn: ir.Node
    normed: ir.Value | None = None
    norm_behind: tuple[list[tuple[ir.Node, int]], ir.Value] | None = None

    def flat(self, graph: ir.Graph) -> ir.Value:
        """All heads side by side, (batch, sequence, heads * size), before the rotary embedding."""
        normed = self.normed
        if self.norm_behind is not None:  # along the last axis, it gives the same before the Transpose
            uses, normed = self.norm_behind
            for node, index in uses:
                node.replace_input_with(index, self.cut.outputs[0])
        if normed is None:
            assert self.cut.inputs[0] is not None
            return self.cut.inputs[0]
        return op(graph, "Reshape", normed, constant(graph, "lager.merge_heads", [0, 0, -1]))


def lengths(graph: ir.Graph) -> tuple[ir.Value, ir.Value]:
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
    return input_of(products, 0), input_of(products, 1), input_of(weighted, 1)


def _back(value: ir.Value | None, op_types: set[str], layer: int) -> ir.Node:
    """The first node of one of `op_types` on the way back along first computed inputs."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type not in op_types:
        sources = data_inputs(node)
        node = sources[0].producer() if sources else None
    if node is None:
        raise ExportError(f"looked for {' or '.join(sorted(op_types))} in the attention of layer {layer}, found none")
    return node


def _plan(operand: ir.Value, layer: int) -> _Operand:
    """Finds the parts of an operand, and changes nothing.

    The way back from it runs: (repeat) ─ (rotary) ─ (norm) ─ Transpose ─ (norm) ─ Reshape ─ projection.
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
    cut, turn = way[views[-1]], way[turns[-1]]
    if turns[-1] + 1 < views[-1]:  # normed before the Transpose
        return _Operand(cut, turn, normed=input_of(turn, 0))
    return _Operand(cut, turn, norm_behind=_norm_behind(turn, layer))


def _norm_behind(turn: ir.Node, layer: int) -> tuple[list[tuple[ir.Node, int]], ir.Value] | None:
    """Where a norm begins and ends that follows the Transpose; None where no norm does."""
    uses = [(use.node, use.idx) for use in turn.outputs[0].uses()]
    if not any(node.op_type == "Pow" for node, _ in uses):
        return None
    scaled = [node for node, _ in uses if node.op_type == "Mul"]  # x / rms
    weighted = [use.node for node in scaled for use in node.outputs[0].uses()]  # times the weight
    if len(scaled) != 1 or len(weighted) != 1:
        raise ExportError(f"the norm on the heads of layer {layer} is of a form that is not known")
    return uses, weighted[0].outputs[0]
