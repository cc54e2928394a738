"""What the passes that change weights must know of a fused graph."""

import onnx_ir as ir

NORM = "SimplifiedLayerNormalization"


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is a weight."""
    return value is not None and value.const_value is not None and not value.is_graph_input()


def embedding_lookup(graph: ir.Graph) -> ir.Node:
    """The Gather that looks up the embedding."""
    return next(node for node in graph if node.op_type == "Gather" and is_constant(node.inputs[0]))


def reads_gate(down: ir.Node) -> bool:
    """Whether an MLP's second product reads what a gate lets through, and not just an activation."""
    producer = down.inputs[0].producer() if down.inputs[0] is not None else None
    return producer is not None and producer.op_type == "Mul"


def norm_weight(norm: ir.Node) -> ir.Value:
    """The weight of a fused norm."""
    weight = norm.inputs[1]
    assert weight is not None
    return weight
