"""Makes position ids inside the graph."""

import onnx_ir as ir

from lager_onnx.export.passes.building import constant, op


class PositionsPass(ir.passes.InPlacePass):
    """Replaces the input `position_ids` by 0, 1, 2, ... for every row.

    Rows are padded on the right, so a token's position is its column, whatever the row's length:

        before: position_ids (batch, sequence) ─► rotary embedding
        after:  input_ids ─ Shape ─ Range ─ Unsqueeze (1, sequence) ─► rotary embedding

    Graphs that make their positions themselves (Gemma's) are left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        inputs = {value.name: value for value in graph.inputs}
        if "position_ids" not in inputs:
            return ir.passes.PassResult(model, modified=False)
        size = op(graph, "Shape", inputs["input_ids"], start=1, end=2)
        stop = op(graph, "Squeeze", size, constant(graph, "lager.axis_0", [0]))
        steps = [constant(graph, f"lager.{name}", number) for name, number in (("zero", 0), ("one", 1))]
        columns = op(graph, "Range", steps[0], stop, steps[1])
        positions = op(graph, "Unsqueeze", columns, constant(graph, "lager.axis_0", [0]))
        # Expanded, so that the traced graph sees (batch, sequence) as it was promised.
        positions = op(graph, "Expand", positions, op(graph, "Shape", inputs["input_ids"]), name="lager.position_ids")
        ir.convenience.replace_all_uses_with(inputs["position_ids"], positions)
        graph.inputs.remove(inputs["position_ids"])
        graph.sort()
        return ir.passes.PassResult(model, modified=True)
