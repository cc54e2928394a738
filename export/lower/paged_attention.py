"""Attention over a packed batch: no padding, and what prompts share is computed once."""

import numpy as np
import onnx_ir as ir

from lager_onnx.export.decoder.locate import input_of
from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.passes.score_position import POSITION
from lager_onnx.export.passes.simplify import remove_unused
from lager_onnx.models.graph import (
    BLOCK_TABLE,
    BLOCK_TOKENS,
    CACHE_BLOCKS,
    CUMULATIVE_ROWS,
    INPUT_IDS,
    LONGEST,
    PAST_LENGTHS,
    ROW_TOKENS,
    SCORE_TOKENS,
    TOKEN_ROWS,
)

_KEPT = ("num_heads", "kv_num_heads", "scale", "softcap", "local_window_size", "do_rotary")
_PAST = 3  # inputs of GroupQueryAttention: keys of earlier tokens; cosines and sines
_TABLES = slice(7, 9)
_METADATA = 16  # which input of PagedAttention tells the CPU how long the longest prompt is
_INPUTS: dict[str, tuple[ir.DataType, list[int | str]]] = {
    INPUT_IDS: (ir.DataType.INT64, [1, "tokens"]),
    SCORE_TOKENS: (ir.DataType.INT64, ["batch"]),
    ROW_TOKENS: (ir.DataType.INT64, ["rows"]),
    TOKEN_ROWS: (ir.DataType.INT64, [1, "tokens"]),
    CUMULATIVE_ROWS: (ir.DataType.INT32, ["sequences + 1"]),
    PAST_LENGTHS: (ir.DataType.INT32, ["sequences"]),
    BLOCK_TABLE: (ir.DataType.INT32, ["sequences", "blocks"]),
    LONGEST: (ir.DataType.INT32, [2]),
    CACHE_BLOCKS: (ir.DataType.INT64, [1]),
}


class PagedAttentionPass(ir.passes.InPlacePass):
    """Lets a judge read a packed batch (`runtime/packed_batch.py`): all tokens of all prompts in one row.

        before: q, k, v (batch, sequence, width) ─ GroupQueryAttention(past, lengths) ─ context
        after:  q, k, v (1, tokens, width) ─ Gather(row_tokens) ─ PagedAttention(cache, blocks) ─ Gather(token_rows) ─
                context (1, tokens, width)

    Products, norms and MLPs see each token once. Attention has a row more for each token of a shared prefix that stands
    in a block of the KV cache which another prompt cannot share. It writes keys and values into the cache before it
    reads them, so a prompt reads blocks that another one of the same batch has filled. No layer reads what another one
    has written: all use the same cache, which lives for one batch.

    The score position is a token of each prompt. Attention masks, and keys and values of earlier batches, are no inputs
    any more. Graphs without the fused attention are left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        nodes = [node for node in graph if node.op_type == "GroupQueryAttention"]
        if not nodes:
            return ir.passes.PassResult(model, modified=False)
        inputs = self._inputs(graph)
        caches: dict[tuple[int, ...], list[ir.Value]] = {}
        for node in nodes:
            past = input_of(input_of(node, _PAST).producer(), 0)  # type: ignore[arg-type]  # behind its Reshape
            assert past.shape is not None
            assert past.dtype is not None
            heads, size = int(past.shape[1]), int(past.shape[3])  # type: ignore[arg-type]
            if (heads, size) not in caches:
                caches[heads, size] = _cache(graph, inputs[CACHE_BLOCKS], heads, size, past.dtype)
            _page(graph, node, caches[heads, size], inputs)
        self._gather_score_tokens(graph, inputs[SCORE_TOKENS])
        graph.sort()
        remove_unused()(model)
        for value in [value for value in graph.inputs if not value.uses()]:
            graph.inputs.remove(value)
            graph.initializers.pop(str(value.name), None)
        return ir.passes.PassResult(model, modified=True)

    def _inputs(self, graph: ir.Graph) -> dict[str, ir.Value]:
        """The graph's inputs by name, those that are missing added in front."""
        found = {str(value.name): value for value in graph.inputs}
        for name, (dtype, shape) in _INPUTS.items():
            found.setdefault(name, ir.Value(name=name, type=ir.TensorType(dtype)))
            found[name].shape = ir.Shape(shape)
        others = [value for value in graph.inputs if value.name not in _INPUTS]
        graph.inputs.clear()
        graph.inputs.extend([*(found[name] for name in _INPUTS), *others])
        return found

    def _gather_score_tokens(self, graph: ir.Graph, tokens: ir.Value) -> None:
        """Lets every GatherND take (row 0, token) instead of (token) of each row."""
        old = next(value for node in graph for value in node.outputs if value.name == POSITION)
        old.name = None
        column = op(graph, "Unsqueeze", tokens, constant(graph, "lager.axes_1_2", [1, 2]))
        row = op(graph, "Mul", column, constant(graph, "lager.zero", 0))
        position = op(graph, "Concat", row, column, axis=-1, name=POSITION)  # (batch, 1, 2)
        for node in [node for node in graph if node.op_type == "GatherND"]:
            node.replace_input_with(1, position)
            node.attributes["batch_dims"] = ir.AttrInt64("batch_dims", 0)


def _cache(graph: ir.Graph, blocks: ir.Value, heads: int, size: int, dtype: ir.DataType) -> list[ir.Value]:
    """Keys and values of one batch, (blocks, tokens, heads, size) each.

    Its shape is computed from the shape of something, or onnxruntime computes it on the GPU and copies it back. The two
    are filled with different numbers, or it makes one of them.
    """
    known = op(graph, "Shape", op(graph, "ConstantOfShape", blocks))
    block = constant(graph, f"lager.block_{heads}_{size}", [BLOCK_TOKENS, heads, size])
    shape = op(graph, "Concat", known, block, axis=0)
    made = []
    for number in (0, 1):
        filling = ir.tensor(np.asarray([number], dtype.numpy()), dtype=dtype)
        value = op(graph, "ConstantOfShape", shape, value=filling)
        value.type = ir.TensorType(dtype)
        made.append(value)
    return made


def _page(graph: ir.Graph, node: ir.Node, cache: list[ir.Value], inputs: dict[str, ir.Value]) -> None:
    dtype, axis = cache[0].dtype, constant(graph, "lager.axis_0", [0])
    flat = [value if value is None else op(graph, "Squeeze", value, axis) for value in node.inputs[:3]]
    rows = [value if value is None else op(graph, "Gather", value, inputs[ROW_TOKENS], axis=0) for value in flat]
    places = [inputs[name] for name in (CUMULATIVE_ROWS, PAST_LENGTHS, BLOCK_TABLE)]
    read = [*rows, *cache, *places, *node.inputs[_TABLES]]
    read += [None] * (_METADATA - len(read))
    attributes = {name: node.attributes[name].value for name in _KEPT}
    paged = op(
        graph, "PagedAttention", *read, inputs[LONGEST], domain="com.microsoft", name=f"{node.name}.rows", **attributes
    )  # (rows, width)
    context = op(graph, "Gather", paged, inputs[TOKEN_ROWS], axis=0)
    old = node.outputs[0]
    for value in (*(each for each in rows if each is not None), paged, context):
        value.type = ir.TensorType(dtype)  # type: ignore[arg-type]
    context.shape = old.shape
    ir.convenience.replace_all_uses_with(old, context)
    context.name, old.name = old.name, None
    for present in node.outputs[1:]:
        if present in graph.outputs:
            graph.outputs.remove(present)
    graph.remove(node, safe=True)
