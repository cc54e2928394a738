"""SiLU in one node."""

import onnx_ir as ir

from lager_onnx.export.passes.building import replace


class FuseSiluPass(ir.passes.InPlacePass):
    """Fuses x * sigmoid(x), the activation of Llama-like MLPs.

    before: x ┬ Sigmoid ┬ Mul
              └─────────┘
    after:  x ─ QuickGelu(alpha=1)
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        pairs = [
            (node.inputs[0], use.node.outputs[0])
            for node in graph
            if node.op_type == "Sigmoid"
            for use in node.outputs[0].uses()
            if use.node.op_type == "Mul" and node.inputs[0] in use.node.inputs
        ]
        for x, product in pairs:
            replace(graph, {product: 0}, "QuickGelu", [x], domain="com.microsoft", alpha=1.0)
        graph.sort()
        return ir.passes.PassResult(model, modified=bool(pairs))
