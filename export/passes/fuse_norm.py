"""RMS norms in one node."""

from dataclasses import dataclass

import onnx_ir as ir

from lager_onnx.export.passes.building import replace


@dataclass(frozen=True)
class _Norm:
    """A traced RMS norm: output = weight * x / sqrt(mean(x * x) + epsilon)."""

    x: ir.Value
    weight: ir.Value
    epsilon: float
    output: ir.Value


class FuseNormPass(ir.passes.InPlacePass):
    """Fuses the seven nodes of a traced RMS norm into one.

    before: x ┬ Pow ─ ReduceMean ─ Add ─ Sqrt ─ Div ┬ Mul ─ Mul(weight) ─ normed
              └─────────────────────────────────────┘
    after:  x ─ SimplifiedLayerNormalization(weight) ─ normed
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        norms = [norm for node in graph if node.op_type == "Pow" and (norm := _norm(node)) is not None]
        for norm in norms:
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
