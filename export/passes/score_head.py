"""Appends the multi-layer score-token head: docs/method.md, sections 1 and 2, as nodes of the graph."""

import onnx_ir as ir

from lager_onnx.export.decoder.locate import Anatomy
from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.passes.score_position import at_score_position
from lager_onnx.models.graph import OUTPUTS


class ScoreHeadPass(ir.passes.InPlacePass):
    """Lets the hidden state of every layer at the score position meet the score rows of the unembedding.

    Before:

        h(L) (batch, sequence, hidden) ─ norm ─ unembedding ─ head ops ─► logits (batch, sequence, K)

    After (each `at` takes the score position: row sum of the mask - 1):

        h(0) ─ at ─┐
        ...        ├ Concat ─┬──────── Concat ─ unembedding ─ head ops ─► layer_logits (batch, 2 (L + 1), K)
        h(L) ─ at ─┘         └─ norm ────┘

        layer_logits ─ lager.layer_weights ─► logits ─ Softmax ─► probabilities ─ lager.scale_values ─► score

    Where the last layer was `pruned` to the score position, h(L) comes so already. Norm, unembedding and head
    operations are the checkpoint's own nodes, fed with other rows; so soft caps, scalings and biases apply to every
    layer.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        *,
        layer_weights: tuple[float, ...],
        values: tuple[float, ...],
        pruned: bool = False,
    ):
        self.anatomy, self.pruned = anatomy, pruned
        self.layer_weights, self.values = layer_weights, values

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph, anatomy = model.graph, self.anatomy
        final = anatomy.residual_stream[-1]
        norm_uses = [(use.node, use.idx) for use in final.uses()]
        rows = [
            at_score_position(graph, value, f"lager.hidden_state.{layer}")
            for layer, value in enumerate(anatomy.residual_stream[:-1])
        ]  # each (batch, 1, hidden)
        rows.append(final if self.pruned else at_score_position(graph, final, "lager.hidden_state.last"))
        stream = op(graph, "Concat", *rows, axis=1, name="lager.hidden_states")
        for node, index in norm_uses:
            node.replace_input_with(index, stream)
        head_uses = [(use.node, use.idx) for use in anatomy.normed.uses()]
        both = op(graph, "Concat", stream, anatomy.normed, axis=1, name="lager.rows")
        for node, index in head_uses:
            node.replace_input_with(index, both)
        self._name_unembedding(graph)
        self._outputs(graph)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)

    def _name_unembedding(self, graph: ir.Graph) -> None:
        weight = self.anatomy.unembedding.inputs[1]
        assert weight is not None
        graph.initializers.pop(weight.name or "")
        weight.name = "lager.unembedding"
        graph.register_initializer(weight)

    def _outputs(self, graph: ir.Graph) -> None:
        layer_logits = self.anatomy.logits
        layer_logits.name = "layer_logits"
        weights = constant(graph, "lager.layer_weights", self.layer_weights)
        logits = op(graph, "MatMul", weights, layer_logits, name="logits")
        probabilities = op(graph, "Softmax", logits, axis=-1, name="probabilities")
        score = op(graph, "MatMul", probabilities, constant(graph, "lager.scale_values", self.values), name="score")
        made = dict(zip(OUTPUTS, (score, probabilities, logits, layer_logits), strict=True))
        rows, scores = len(self.layer_weights), len(self.values)
        shapes: dict[str, list[int | str]] = {
            "score": ["batch"],
            "probabilities": ["batch", scores],
            "logits": ["batch", scores],
            "layer_logits": ["batch", rows, scores],
        }
        graph.outputs.clear()
        for name in OUTPUTS:
            made[name].shape, made[name].type = ir.Shape(shapes[name]), ir.TensorType(ir.DataType.FLOAT)
            graph.outputs.append(made[name])
        for value in graph.inputs:
            value.shape = ir.Shape(["batch", "sequence"])
