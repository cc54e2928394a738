"""A residual sum and the norm that reads it, in one node."""

import onnx_ir as ir

from lager_onnx.export.decoder.locate import data_inputs
from lager_onnx.export.passes.building import replace


class FuseSkipNormPass(ir.passes.InPlacePass):
    """Fuses RMS norms with the additions that they read.

    before: a + b ─ sum ─ SimplifiedLayerNormalization(weight) ─ normed
    after:  a, b ─ SkipSimplifiedLayerNormalization(weight) ─ normed, sum
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        found = []
        for norm in graph:
            total = norm.inputs[0] if norm.op_type == "SimplifiedLayerNormalization" else None
            addition = total.producer() if total is not None else None
            if addition is not None and addition.op_type == "Add" and len(data_inputs(addition)) == 2:
                found.append((norm, addition))
        for norm, addition in found:
            outputs = replace(
                graph,
                {norm.outputs[0]: 0, addition.outputs[0]: 3},
                "SkipSimplifiedLayerNormalization",
                [*addition.inputs, norm.inputs[1]],
                domain="com.microsoft",
                num_outputs=4,
                epsilon=norm.attributes["epsilon"].as_float(),
            )
            for unused in outputs[1:3]:  # mean and inverse deviation, which only training wants
                unused.name = ""
            graph.remove([norm, addition], safe=True)
        graph.sort()
        return ir.passes.PassResult(model, modified=bool(found))
