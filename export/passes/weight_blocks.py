"""Weights in blocks of few bits."""

from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.calibration import InputsOf
from lager_onnx.export.gptq import quantize_weight
from lager_onnx.export.passes.building import initializer, op, substitute
from lager_onnx.export.passes.parts import is_constant, numpy_of, projections

_CONTRIB = "com.microsoft"
_BITS, _BLOCK = 4, 32
_INT8_ACTIVATIONS: Final = 4  # accuracy level: blocks of activations are rounded to 8 bits, products are of integers


class WeightBlocksPass(ir.passes.InPlacePass):
    """Stores the body's matrices in 4 bits, with a scale for every 32 inputs of an output.

        before: x ─ MatMul(W)
        after:  x ─ MatMulNBits(W in blocks)

    Args:
        inputs: what a projection reads over calibration text.
    """

    def __init__(self, inputs: InputsOf):
        self.inputs = inputs

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        for node in projections(graph):
            x, weight = node.inputs
            assert x is not None
            assert weight is not None
            rows, columns = numpy_of(weight).shape
            moments = self.inputs(x).moments
            quantized, scales = quantize_weight(numpy_of(weight), moments, bits=_BITS, block=_BLOCK)
            packed = initializer(graph, f"{weight.name}.int4", _packed(quantized))
            scales_ = initializer(graph, f"{weight.name}.scales", np.ascontiguousarray(scales.T))
            product = op(
                graph, "MatMulNBits", x, packed, scales_, domain=_CONTRIB,
                K=rows, N=columns, bits=_BITS, block_size=_BLOCK, accuracy_level=_INT8_ACTIVATIONS,
            )  # fmt: skip
            substitute(graph, node, product)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


def _packed(quantized: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """As MatMulNBits wants them: (out, blocks, bytes of a block), two weights a byte, 8 for zero."""
    rows, columns = quantized.shape
    blocks = -(-rows // _BLOCK)
    shifted = np.full((columns, blocks * _BLOCK), 8, dtype=np.uint8)
    shifted[:, :rows] = quantized.T + 8
    pairs: npt.NDArray[np.uint8] = shifted[:, 0::2] | (shifted[:, 1::2] << 4)
    return pairs.reshape(columns, blocks, _BLOCK // 2)


class EmbeddingBlocksPass(ir.passes.InPlacePass):
    """Stores the embedding in 8 bits, with a scale for every 32 channels of a token.

    before: input_ids ─ Gather(embedding)
    after:  input_ids ─ GatherBlockQuantized(embedding in blocks)
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        node = next(node for node in graph if node.op_type == "Gather" and is_constant(node.inputs[0]))
        embedding = numpy_of(node.inputs[0])
        tokens, channels = embedding.shape
        if channels % _BLOCK:
            return ir.passes.PassResult(model, modified=False)
        blocks = embedding.reshape(tokens, -1, _BLOCK)
        scales = np.maximum(np.abs(blocks).max(axis=-1) / 127, np.finfo(np.float32).tiny).astype(np.float32)
        quantized = (np.round(blocks / scales[..., None]) + 128).astype(np.uint8).reshape(tokens, channels)
        name = node.inputs[0].name if node.inputs[0] is not None else ""
        found = op(
            graph, "GatherBlockQuantized",
            initializer(graph, f"{name}.int8", quantized), node.inputs[1], initializer(graph, f"{name}.scales", scales),
            domain=_CONTRIB, bits=8, block_size=_BLOCK, gather_axis=0, quantize_axis=1,
        )  # fmt: skip
        substitute(graph, node, found)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)
