"""Arithmetic in bfloat16 on a CPU, which has no kernels for it: computed in float32, every result rounded."""

from pathlib import Path

import onnx_ir as ir

from lager_onnx.export.passes.building import op
from lager_onnx.models.graph import OUTPUTS
from lager_onnx.models.spec import GRAPH_FILE, JudgeSpec

_STORED = ("Gather", "Cast")  # what a CPU does with 16 bits


def load_for_cpu(folder: Path, spec: JudgeSpec) -> ir.Model:
    """The graph of a judge as it was written, or one that a CPU can run and that says the same."""
    model = ir.load(folder / GRAPH_FILE)
    if spec.arithmetic == "bf16":
        EmulatePass()(model)
    return model


class EmulatePass(ir.passes.InPlacePass):
    """Lets a judge whose products are in bf16 say on a CPU what it says on a GPU, but for the order of its sums.

        before: Cast(bf16) ─ MatMul(bf16 weight) ─ QuickGelu(bf16) ─ Cast(float)
        after:  round ─ MatMul(Cast(weight)) ─ round ─ QuickGelu ─ round

    where round is Cast(bf16) and Cast(float). A GPU adds the products of a MatMul in float32 and rounds the sum, as
    this does; inside attention it rounds probabilities too, which this does not. Keys and values are no outputs any
    more.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        for value in [value for value in graph.outputs if value.name not in OUTPUTS]:
            graph.outputs.remove(value)
        widened: dict[ir.Value, ir.Value] = {}
        for node in list(graph):
            read = node.inputs[0]
            if node.op_type == "Cast" and _is_bf16(read):
                if read is not None and _is_computed(read):
                    node.outputs[0].replace_all_uses_with(read)  # which is in float32 now
            elif node.op_type not in _STORED or (node.op_type == "Cast" and _is_bf16(node.outputs[0])):
                self._compute_in_float32(graph, node, widened)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)

    def _compute_in_float32(self, graph: ir.Graph, node: ir.Node, widened: dict[ir.Value, ir.Value]) -> None:
        for index, value in enumerate(node.inputs):
            if value is not None and _is_weight(value) and _is_bf16(value):
                if value not in widened:
                    widened[value] = op(graph, "Cast", value, to=ir.DataType.FLOAT)
                node.replace_input_with(index, widened[value])
        for output in [value for value in node.outputs if _is_bf16(value)]:
            uses = [(use.node, use.idx) for use in output.uses()]
            rounded = output if node.op_type == "Cast" else op(graph, "Cast", output, to=ir.DataType.BFLOAT16)
            rounded = op(graph, "Cast", rounded, to=ir.DataType.FLOAT)
            rounded.type = ir.TensorType(ir.DataType.FLOAT)
            if node.op_type != "Cast":
                output.type = ir.TensorType(ir.DataType.FLOAT)
            for user, index in uses:
                user.replace_input_with(index, rounded)


def _is_bf16(value: ir.Value | None) -> bool:
    if value is None:
        return False
    maker = value.producer()
    if maker is not None and maker.op_type == "Cast":  # whose output's type need not be written down
        return maker.attributes["to"].as_int() == ir.DataType.BFLOAT16
    return value.dtype == ir.DataType.BFLOAT16


def _is_computed(value: ir.Value) -> bool:
    maker = value.producer()
    return maker is not None and maker.op_type not in _STORED


def _is_weight(value: ir.Value) -> bool:
    return value.const_value is not None
