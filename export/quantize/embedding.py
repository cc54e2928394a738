"""The embedding in blocks of 8 bits."""

from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.passes.building import constant, op, substitute
from lager_onnx.export.passes.parts import embedding_lookup, is_constant
from lager_onnx.export.weights import Weight, rows_of, shape_of, tensor_of

Array = npt.NDArray[np.float32]

_CONTRIB: Final = "com.microsoft"
_BLOCK: Final = 32
_INT8_ACTIVATIONS: Final = 4  # accuracy level: blocks of activations are rounded to 8 bits too


class EmbeddingBlocksPass(ir.passes.InPlacePass):
    """Stores the embedding in 8 bits, with a scale for every 32 channels of a token.

    before: input_ids ─ Gather(embedding)                         row ─ Gemm(embedding, or an unembedding)
    after:  input_ids ─ GatherBlockQuantized(embedding in blocks)  row ─ MatMulNBits(the same blocks)
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        lookup = embedding_lookup(graph)
        products = [node for node in graph if node.op_type == "Gemm" and is_constant(node.inputs[1])]
        unembeddings = [node for node in products if (node.inputs[1].name or "") != "lager.unrotate"]  # type: ignore[union-attr]
        stored: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
        for node, index in [(lookup, 0), *((product, 1) for product in unembeddings)]:
            value = node.inputs[index]
            assert value is not None
            tokens, channels = shape_of(value)
            if channels % _BLOCK:
                continue
            if value not in stored:
                stored[value] = _stored(graph, value)
            codes, scales = stored[value]
            if node is lookup:
                found = _looked_up(graph, node, codes, scales, tokens, channels)
            else:
                found = op(
                    graph, "MatMulNBits", node.inputs[0], codes, scales, domain=_CONTRIB,
                    K=channels, N=tokens, bits=8, block_size=_BLOCK, accuracy_level=_INT8_ACTIVATIONS,
                )  # fmt: skip
            substitute(graph, node, found)
        graph.sort()
        return ir.passes.PassResult(model, modified=bool(stored))


def _stored(graph: ir.Graph, value: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Codes (tokens, blocks, 32) and scales (tokens, blocks), as a product takes them."""
    tokens, channels = shape_of(value)
    rows, blocks = rows_of(tensor_of(value)), channels // _BLOCK
    codes = Weight(
        f"{value.name}.int8",
        (tokens, blocks, _BLOCK),
        lambda a, b: _codes(rows(a, b)).reshape(-1, blocks, _BLOCK),
        dtype=ir.DataType.UINT8,
    )
    scales = Weight(f"{value.name}.scales", (tokens, blocks), lambda a, b: _scales(rows(a, b)))
    made = []
    for tensor in (codes, scales):
        made.append(
            ir.Value(name=tensor.name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
        )
        graph.register_initializer(made[-1])
    return made[0], made[1]


def _looked_up(
    graph: ir.Graph, node: ir.Node, codes: ir.Value, scales: ir.Value, tokens: int, channels: int
) -> ir.Value:
    per_block = op(graph, "Reshape", scales, constant(graph, "lager.blocks", [tokens, channels // _BLOCK, 1]))
    found = op(
        graph, "GatherBlockQuantized", codes, node.inputs[1], per_block,
        domain=_CONTRIB, bits=8, block_size=_BLOCK, gather_axis=0, quantize_axis=2,
    )  # fmt: skip
    return op(graph, "Reshape", found, constant(graph, "lager.merge_blocks", [0, 0, channels]))


def _blocks(rows: Array) -> Array:
    return rows.reshape(len(rows), -1, _BLOCK)


def _scales(rows: Array) -> Array:
    """What maps the largest number of every block to 127, (tokens, blocks)."""
    largest = np.abs(_blocks(rows)).max(axis=-1) / np.float32(127)
    scales: Array = np.maximum(largest, np.finfo(np.float32).tiny)
    return scales


def _codes(rows: Array) -> npt.NDArray[np.uint8]:
    """Rounded to steps of those scales, 128 for zero."""
    rounded = np.round(_blocks(rows) / _scales(rows)[..., None]) + 128
    return rounded.astype(np.uint8).reshape(rows.shape)
