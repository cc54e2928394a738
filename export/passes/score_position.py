"""The score position: a row's last token, whose next token is the score."""

import onnx_ir as ir

from lager_onnx.export.passes.building import constant, op

POSITION = "lager.score_position"


def at_score_position(graph: ir.Graph, value: ir.Value, name: str) -> ir.Value:
    """(batch, sequence, n) to (batch, 1, n): what `value` holds at every row's last token."""
    return op(graph, "GatherND", value, _position(graph), batch_dims=1, name=name)


def _position(graph: ir.Graph) -> ir.Value:
    """Index of the last token of every row, (batch, 1, 1) int64: row sum of the mask - 1."""
    for node in graph:
        if node.outputs[0].name == POSITION:
            return node.outputs[0]
    mask = next(value for value in graph.inputs if value.name == "attention_mask")
    length = op(graph, "ReduceSum", mask, constant(graph, "lager.axis_1", [1]), keepdims=1)
    last = op(graph, "Sub", length, constant(graph, "lager.one", 1))
    return op(graph, "Unsqueeze", last, constant(graph, "lager.axis_1", [1]), name=POSITION)
