"""RMS norms in one node, together with the residual sum before them."""

from dataclasses import dataclass

import onnx_ir as ir

from lager_onnx.export.anatomy import data_inputs
from lager_onnx.export.passes.building import replace


@dataclass(frozen=True)
class _Norm:
    """A traced RMS norm: output = weight * x / sqrt(mean(x * x) + epsilon)."""

    x: ir.Value
    weight: ir.Value
    epsilon: float
    output: ir.Value


class FuseNormPass(ir.passes.InPlacePass):
    """Fuses the seven nodes of a traced RMS norm, and the addition that it reads, into one.

        before: a + b ─ sum ┬ Pow ─ ReduceMean ─ Add ─ Sqrt ─ Div ┬ Mul ─ Mul(weight) ─ normed
                            └─────────────────────────────────────┘
        after:  a, b ─ SkipSimplifiedLayerNormalization(weight) ─ normed, sum

    A norm that reads no sum (of the embedding, on heads) becomes SimplifiedLayerNormalization.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        norms = [norm for node in graph if node.op_type == "Pow" and (norm := _norm(node)) is not None]
        for norm in norms:
            addition = norm.x.producer()
            if addition is not None and addition.op_type == "Add" and len(data_inputs(addition)) == 2:
                outputs = replace(
                    graph,
                    {norm.output: 0, norm.x: 3},
                    "SkipSimplifiedLayerNormalization",
                    [*addition.inputs, norm.weight],
                    domain="com.microsoft",
                    num_outputs=4,
                    epsilon=norm.epsilon,
                )
                for unused in outputs[1:3]:  # mean and inverse deviation, which only training wants
                    unused.name = ""
            else:
                replace(
                    graph,
                    {norm.output: 0},
                    "SimplifiedLayerNormalization",
                    [norm.x, norm.weight],
                    axis=-1,
                    epsilon=norm.epsilon,
                    stash_type=1,
                )
        graph.sort()
        return ir.passes.PassResult(model, modified=bool(norms))


def _only_user(value: ir.Value, op_type: str) -> ir.Node | None:
    users = [use.node for use in value.uses()]
    return users[0] if len(users) == 1 and users[0].op_type == op_type else None


def _norm(power: ir.Node) -> _Norm | None:
    """The norm that begins with this Pow, if it is one."""
    x, node = power.inputs[0], power
    epsilon = 0.0
    for op_type in ("ReduceMean", "Add", "Sqrt", "Div", "Mul", "Mul"):
        user = _only_user(node.outputs[0], op_type)
        if user is None:
            return None
        constants = [value.const_value for value in user.inputs if value is not None and value.const_value is not None]
        if op_type == "Add":
            epsilon = float(constants[0].numpy())
        node = user
    weights = [value for value in node.inputs if value is not None and value.const_value is not None]
    return _Norm(x, weights[0], epsilon, node.outputs[0]) if x is not None and len(weights) == 1 else None
