"""The last layer for one position only."""

import onnx_ir as ir

from lager_onnx.export.decoder.locate import Anatomy
from lager_onnx.export.passes.score_position import at_score_position


class PruneLastLayerPass(ir.passes.InPlacePass):
    """Lets only the score position through behind the attention of the last layer.

    Nothing attends to the last layer's outputs, so of all after its attention one position is needed:

        before: h(L-1) ───────────────────── Add ┬ norm ─ MLP ─ Add ─ h(L) (batch, sequence, hidden)
                attention ─ output projection ┘  └───────────────┘
        after:  h(L-1) ─ at ──────────────── Add ┬ norm ─ MLP ─ Add ─ h(L) (batch, 1, hidden)
                attention ─ at ─ output proj. ┘  └───────────────┘

    Only for decoders of which `can_prune` says so.
    """

    def __init__(self, anatomy: Anatomy):
        self.anatomy = anatomy

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph, anatomy = model.graph, self.anatomy
        before, output = anatomy.residual_stream[-2], anatomy.attention_outputs[-1]
        (addition,) = (use.node for use in before.uses() if use.node is anatomy.last_attention_addition)
        context = output.inputs[0]
        assert context is not None
        output.replace_input_with(0, at_score_position(graph, context, "lager.last_context"))
        addition.replace_input_with(
            addition.inputs.index(before), at_score_position(graph, before, "lager.last_residual")
        )
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


def can_prune(anatomy: Anatomy) -> bool:
    """Whether the last layer's MLP follows its attention, and does not read h(L-1) itself, side by side with it."""
    assert anatomy.last_attention_addition is not None
    follows = len(anatomy.last_attention_addition.outputs[0].uses()) > 1
    return anatomy.additions_a_layer == 2 and follows
