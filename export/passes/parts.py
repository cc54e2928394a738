"""What the passes that change weights must know of a fused graph: its projections and what stands round them."""

import onnx_ir as ir

NORMS = ("SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization")


def projections(graph: ir.Graph) -> list[ir.Node]:
    """The matrix products with a weight of the body, in the order of the graph; the score head's are left out."""
    return [node for node in graph if node.op_type == "MatMul" and _is_of_the_body(node.inputs[1])]


def _is_of_the_body(weight: ir.Value | None) -> bool:
    return weight is not None and is_constant(weight) and not (weight.name or "").startswith("lager.")


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is a weight."""
    return value is not None and value.const_value is not None and not value.is_graph_input()


def reads_norm(projection: ir.Node) -> bool:
    """Whether a projection reads the residual stream through a norm."""
    producer = projection.inputs[0].producer() if projection.inputs[0] is not None else None
    return producer is not None and producer.op_type in NORMS


def reads_gate(projection: ir.Node) -> bool:
    """Whether a projection reads the product of a gate and what it lets through: the MLP's second one."""
    producer = projection.inputs[0].producer() if projection.inputs[0] is not None else None
    return producer is not None and producer.op_type == "Mul"


def norm_weight(norm: ir.Node) -> ir.Value:
    """The weight of a fused norm."""
    weight = norm.inputs[2 if norm.op_type == NORMS[1] else 1]
    assert weight is not None
    return weight
