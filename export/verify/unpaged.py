"""PagedAttention in operators that a CPU has, so that a judge for CUDA can be checked without one."""

from collections.abc import Sequence

import onnx_ir as ir

from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.passes.simplify import remove_unused
from lager_onnx.models.graph import BLOCK_TABLE, BLOCK_TOKENS, CUMULATIVE_ROWS, PAST_LENGTHS

_ROTARY_TABLES = slice(8, 10)  # inputs of PagedAttention
_CACHE = 3


class UnpagedAttentionPass(ir.passes.InPlacePass):
    """Replaces every PagedAttention by what its definition says.

        before: q, k, v (rows, width) ─ PagedAttention(cache, blocks)
        after:  k ─ rotary ─ ScatterND(cache, slots) ─┐
                v ───────── ScatterND(cache, slots) ──┤
                                                      ├ Gather(slots of a sequence) ─┐
                q ─ rotary ─ ScatterND(sequences) ─────────────────────── GroupQueryAttention ─ GatherND

    Keys and values go into the slots of the cache that the block table names, and come back from there for each
    sequence, whoever wrote them. So what the exporter and the runtime do is checked; the CUDA kernel itself is not.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        nodes = [node for node in graph if node.op_type == "PagedAttention"]
        if nodes:
            places = _Places(graph)
            for node in nodes:
                _unpage(graph, node, places)
            graph.sort()
            remove_unused()(model)
        return ir.passes.PassResult(model, modified=bool(nodes))


class _Places:
    """Where rows stand; the same in every layer.

    Attributes:
        position: of every row in its sequence, (rows, 1) int64.
        slot: of every row in the cache, (rows, 1) int64.
        entry: sequence and position of every row, (rows, 2) int64.
        read: slots of every sequence in the order of its tokens, (sequences, longest) int64.
        last, longest: index of every sequence's last token (sequences,), and their length (), both int32.
        shape: (sequences, longest) int64.
    """

    def __init__(self, graph: ir.Graph):
        given = {value.name: value for value in graph.inputs}
        ends, past, table = (
            op(graph, "Cast", given[name], to=ir.DataType.INT64)
            for name in (CUMULATIVE_ROWS, PAST_LENGTHS, BLOCK_TABLE)
        )
        zero, one, minus = (constant(graph, f"lager.{name}", number) for name, number in _NUMBERS.items())
        size = constant(graph, "lager.block_tokens", BLOCK_TOKENS)
        axis_0, axis_1 = (constant(graph, f"lager.axis_{axis}", [axis]) for axis in (0, 1))
        begins, behind = (
            op(graph, "Slice", ends, *(constant(graph, f"lager.at_{at}", [at]) for at in bounds))
            for bounds in ((0, -1), (1, 2**31))
        )
        rows = op(graph, "Range", zero, op(graph, "Gather", ends, minus), one)
        passed = op(graph, "LessOrEqual", op(graph, "Unsqueeze", behind, axis_1), op(graph, "Unsqueeze", rows, axis_0))
        sequence = op(graph, "ReduceSum", op(graph, "Cast", passed, to=ir.DataType.INT64), axis_0, keepdims=0)
        before = op(graph, "Sub", op(graph, "Gather", past, sequence), op(graph, "Gather", begins, sequence))
        position = op(graph, "Add", rows, before)
        self.entry = op(
            graph, "Concat", *(op(graph, "Unsqueeze", value, axis_1) for value in (sequence, position)), axis=1
        )
        lengths = op(graph, "Add", past, op(graph, "Sub", behind, begins))
        longest = op(graph, "ReduceMax", lengths, keepdims=0)
        columns = op(graph, "Range", zero, longest, one)
        blocks = op(graph, "Gather", table, op(graph, "Div", columns, size), axis=1)
        self.read = op(graph, "Add", op(graph, "Mul", blocks, size), op(graph, "Mod", columns, size))
        self.slot = op(graph, "Unsqueeze", op(graph, "GatherND", self.read, self.entry), axis_1)
        self.position = op(graph, "Unsqueeze", position, axis_1)
        self.last = op(graph, "Cast", op(graph, "Sub", lengths, one), to=ir.DataType.INT32)
        self.longest = op(graph, "Cast", longest, to=ir.DataType.INT32)
        self.shape = op(graph, "Shape", self.read)


_NUMBERS = {"zero": 0, "one": 1, "minus_one": -1}


def _unpage(graph: ir.Graph, node: ir.Node, places: _Places) -> None:
    heads, kv_heads = (node.attributes[name].as_int() for name in ("num_heads", "kv_num_heads"))
    shape = node.inputs[_CACHE].producer().inputs[0]  # type: ignore[union-attr]  # (blocks, tokens, heads, size)
    size = int(shape.producer().inputs[1].const_value.numpy()[-1])  # type: ignore[union-attr]
    dtype = node.inputs[_CACHE].dtype  # type: ignore[union-attr]
    queries, *cached = _parts(graph, node, [heads * size, kv_heads * size, kv_heads * size])
    if node.attributes["do_rotary"].as_int():
        tables = node.inputs[_ROTARY_TABLES]
        queries = _turned(graph, queries, places, tables, heads)
        cached[0] = _turned(graph, cached[0], places, tables, kv_heads)
    flat = constant(graph, f"lager.slots_{kv_heads * size}", [-1, kv_heads * size])
    slots = op(graph, "Reshape", op(graph, "ConstantOfShape", shape), flat)
    read = []
    for part in cached:
        part.type = ir.TensorType(dtype)  # type: ignore[arg-type]
        filled = op(graph, "ScatterND", slots, places.slot, part)
        read.append(op(graph, "Gather", filled, places.read, axis=0))
    empty = op(graph, "Concat", places.shape, constant(graph, f"lager.width_{heads * size}", [heads * size]), axis=0)
    queries.type = ir.TensorType(dtype)  # type: ignore[arg-type]
    queries = op(graph, "ScatterND", op(graph, "ConstantOfShape", empty), places.entry, queries)
    attributes = {name: node.attributes[name].value for name in ("scale", "softcap", "local_window_size")}
    attended = op(
        graph, "GroupQueryAttention", queries, *read, None, None, places.last, places.longest, domain="com.microsoft",
        num_heads=heads, kv_num_heads=kv_heads, do_rotary=0, **attributes,
    )  # fmt: skip
    result = op(graph, "GatherND", attended, places.entry)
    attended.type = result.type = ir.TensorType(dtype)  # type: ignore[arg-type]
    ir.convenience.replace_all_uses_with(node.outputs[0], result)
    graph.remove(node, safe=True)


def _parts(graph: ir.Graph, node: ir.Node, widths: list[int]) -> list[ir.Value]:
    """Queries, keys and values, (rows, width) each."""
    given = [value for value in node.inputs[:_CACHE] if value is not None]
    if len(given) > 1:
        return given
    sizes = constant(graph, f"lager.split_{'_'.join(map(str, widths))}", widths)
    split = ir.node("Split", [given[0], sizes], {"axis": -1}, num_outputs=3)
    graph.append(split)
    return list(split.outputs)


def _turned(
    graph: ir.Graph, value: ir.Value, places: _Places, tables: Sequence[ir.Value | None], heads: int
) -> ir.Value:
    """(rows, width), each row turned by its position: a batch of rows of one token each."""
    axis, width = constant(graph, "lager.axis_1", [1]), tables[0].shape[1]  # type: ignore[union-attr,index]
    turned = op(
        graph, "RotaryEmbedding", op(graph, "Unsqueeze", value, axis), places.position, *tables, domain="com.microsoft",
        num_heads=heads, rotary_embedding_dim=2 * int(width),  # type: ignore[arg-type]
    )  # fmt: skip
    return op(graph, "Squeeze", turned, axis)
