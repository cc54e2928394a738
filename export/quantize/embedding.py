"""The embedding in blocks of 8 bits."""

from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.passes.building import op, substitute
from lager_onnx.export.passes.parts import is_constant
from lager_onnx.export.weights import Weight, rows_of, shape_of, tensor_of

Array = npt.NDArray[np.float32]

_CONTRIB: Final = "com.microsoft"
_BLOCK: Final = 32


class EmbeddingBlocksPass(ir.passes.InPlacePass):
    """Stores the embedding in 8 bits, with a scale for every 32 channels of a token.

    before: input_ids ─ Gather(embedding)
    after:  input_ids ─ GatherBlockQuantized(embedding in blocks)
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        node = next(node for node in graph if node.op_type == "Gather" and is_constant(node.inputs[0]))
        value = node.inputs[0]
        tokens, channels = shape_of(value)
        if channels % _BLOCK:
            return ir.passes.PassResult(model, modified=False)
        assert value is not None
        rows = rows_of(tensor_of(value))
        codes = Weight(
            f"{value.name}.int8", (tokens, channels), lambda a, b: _codes(rows(a, b)), dtype=ir.DataType.UINT8
        )
        scales = Weight(f"{value.name}.scales", (tokens, channels // _BLOCK), lambda a, b: _scales(rows(a, b)))
        stored = [
            ir.Value(name=tensor.name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
            for tensor in (codes, scales)
        ]
        for each in stored:
            graph.register_initializer(each)
        found = op(
            graph, "GatherBlockQuantized", stored[0], node.inputs[1], stored[1],
            domain=_CONTRIB, bits=8, block_size=_BLOCK, gather_axis=0, quantize_axis=1,
        )  # fmt: skip
        substitute(graph, node, found)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


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
