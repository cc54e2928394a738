"""Stores the body's weights in 16 bits."""

from typing import Final

import onnx_ir as ir

from lager_onnx.export.weights import narrowed
from lager_onnx.models.precisions import Precision

DTYPES: Final = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}


class WeightPrecisionPass(ir.passes.InPlacePass):
    """Halves the matrices of the body: stored in 16 bits, widened to float32 where they are used.

        before: x ─ MatMul(weight float32)          input_ids ─ Gather(embedding float32)
        after:  x ─ MatMul(Cast(weight 16 bits))    input_ids ─ Cast(Gather(embedding 16 bits))

    Arithmetic stays float32: the residual stream cannot overflow, norms and head are exact, and the file runs
    on every provider (onnxruntime has no bfloat16 MatMul for the CPU). Vectors and the head keep float32.
    """

    def __init__(self, precision: Precision):
        self.precision = precision

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        if self.precision not in DTYPES:
            return ir.passes.PassResult(model, modified=False)
        graph, dtype = model.graph, DTYPES[self.precision]
        for weight in list(graph.initializers.values()):
            tensor = weight.const_value
            if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) < 2:
                continue
            if (weight.name or "").startswith("lager.") or weight.is_graph_input():
                continue
            uses = [(use.node, use.idx) for use in weight.uses()]
            weight.const_value = narrowed(tensor, dtype)
            weight.type = ir.TensorType(dtype)
            for node, index in uses:
                if node.op_type == "Gather" and index == 0:
                    _widen_after(graph, node, dtype)
                else:
                    widened = ir.node("Cast", [weight], {"to": ir.DataType.FLOAT})
                    graph.insert_before(node, widened)
                    node.replace_input_with(index, widened.outputs[0])
        return ir.passes.PassResult(model, modified=True)


def _widen_after(graph: ir.Graph, node: ir.Node, dtype: ir.DataType) -> None:
    narrow = node.outputs[0]
    uses = [(use.node, use.idx) for use in narrow.uses()]
    widened = ir.node("Cast", [narrow], {"to": ir.DataType.FLOAT})
    graph.insert_after(node, widened)
    widened.outputs[0].shape, widened.outputs[0].type = narrow.shape, narrow.type
    narrow.type = ir.TensorType(dtype)
    for user, index in uses:
        user.replace_input_with(index, widened.outputs[0])
