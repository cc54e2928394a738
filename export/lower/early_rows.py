"""Rows of the score position, gathered as soon as their layer is there."""

import onnx_ir as ir


class EarlyRowsPass(ir.passes.InPlacePass):
    """Moves what gathers a layer's row right behind that layer's hidden state.

    before: h(0) ─ layer 1 ─ h(1) ... h(L), GatherND(h(0)), GatherND(h(1)), ...
    after:  score position, h(0), GatherND(h(0)), layer 1 ─ h(1), GatherND(h(1)), ...

    Where onnxruntime runs nodes in the file's order (`session.py`, CUDA), a hidden state is freed when the next layer
    has read it. Otherwise those of all layers live to the end: 524 KB a token at the widths of a 7B judge.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Reorders the nodes in place."""
        graph = model.graph
        gathers = [node for node in graph if node.op_type == "GatherND"]
        for node in _ancestors(gathers):  # of the score position: they read the mask alone
            graph.remove(node)
            graph.insert_before(graph[0], node)
        for gather in gathers:
            state = gather.inputs[0]
            made_by = state.producer() if state is not None else None
            if made_by is not None:
                graph.remove(gather)
                graph.insert_after(made_by, gather)
        return ir.passes.PassResult(model, modified=bool(gathers))


def _ancestors(gathers: list[ir.Node]) -> list[ir.Node]:
    """What makes the position that they gather, the last first."""
    found: list[ir.Node] = []
    todo = [gather.inputs[1] for gather in gathers[:1]]
    while todo:
        value = todo.pop()
        node = value.producer() if value is not None else None
        if node is not None and node not in found:
            found.append(node)
            todo += node.inputs
    return found
