"""Weights in 16 bits, widened one at a time."""

import onnx_ir as ir


class WidenLatePass(ir.passes.InPlacePass):
    """Moves what widens weights to the beginning of the file, which lets onnxruntime run it late.

    before: x ─ norm ─ normed, Cast(weight), MatMul(normed, widened) ...
    after:  Cast(weight) ..., x ─ norm ─ normed, MatMul(normed, widened) ...

    onnxruntime (1.32) goes through the graph backwards from its outputs, and of a node's inputs makes the one first
    that stands last in the file. With a Cast behind the norm, all weights of a judge are widened before its first layer
    runs: 20 GiB for one of 8B.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Reorders the nodes in place."""
        graph = model.graph
        casts = [node for node in graph if node.op_type == "Cast" and _is_weight(node.inputs[0])]
        for cast in casts:
            graph.remove(cast)
        if casts:
            graph.insert_before(graph[0], casts)
        return ir.passes.PassResult(model, modified=bool(casts))


def _is_weight(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None and not value.is_graph_input()
