"""A judge for CUDA on a CPU, which lacks its kernels: computed in float32, every result rounded to 16 bits."""

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from lager_onnx.export.calibrate.sweep import Prompt
from lager_onnx.export.lower.weight_precision import DTYPES
from lager_onnx.export.passes.building import op
from lager_onnx.export.passes.run import run_passes
from lager_onnx.export.verify.unpaged import UnpagedAttentionPass
from lager_onnx.models.graph import BLOCK_TABLE
from lager_onnx.models.spec import GRAPH_FILE, JudgeSpec
from lager_onnx.runtime.packed_batch import pack_batch

# What only moves numbers: nothing is there to round.
_MOVES = ("Gather", "GatherND", "ScatterND", "Squeeze", "Unsqueeze", "Reshape", "Split")


def load_for_cpu(folder: Path, spec: JudgeSpec) -> ir.Model:
    """The graph of a judge as it was written, or one that a CPU can run and that says the same."""
    model = ir.load(folder / GRAPH_FILE)
    if spec.arithmetic in DTYPES:
        run_passes(model, UnpagedAttentionPass(), EmulatePass(DTYPES[spec.arithmetic]))
    return model


def feeds(model: ir.Model, prompts: Sequence[list[int]], *, together: bool = False) -> list[Prompt]:
    """What a judge's graph reads of prompts: each alone, or all `together` where it reads packed batches."""
    if not any(value.name == BLOCK_TABLE for value in model.graph.inputs):
        return list(prompts)
    return [pack_batch(prompts)] if together else [pack_batch([prompt]) for prompt in prompts]


class EmulatePass(ir.passes.InPlacePass):
    """Lets a judge whose products are in 16 bits say on a CPU what it says on a GPU, but for the order of its sums.

        before: Cast(16) ─ MatMul(weight in 16) ─ QuickGelu(16) ─ Cast(float)
        after:  round ─ MatMul(Cast(weight)) ─ round ─ QuickGelu ─ round

    where round is Cast(16) and Cast(float). A GPU adds the products of a MatMul in float32 and rounds the sum, as this
    does; inside attention it rounds probabilities too, which this does not.
    """

    def __init__(self, dtype: ir.DataType):
        self.dtype = dtype
        self._widened: dict[ir.Value, ir.Value] = {}

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        for node in list(graph):
            read = node.inputs[0]
            if node.op_type == "Cast" and self._is_narrow(read):
                if read is not None and self._is_computed(read):
                    node.outputs[0].replace_all_uses_with(read)  # which is in float32 now
            elif not self._is_stored(node):
                self._compute_in_float32(graph, node)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)

    def _compute_in_float32(self, graph: ir.Graph, node: ir.Node) -> None:
        for index, value in enumerate(node.inputs):
            if value is not None and value.const_value is not None and self._is_narrow(value):
                if value not in self._widened:
                    self._widened[value] = op(graph, "Cast", value, to=ir.DataType.FLOAT)
                node.replace_input_with(index, self._widened[value])
        for output in [value for value in node.outputs if self._is_narrow(value)]:
            if node.op_type in _MOVES:
                output.type = ir.TensorType(ir.DataType.FLOAT)
                continue
            uses = [(use.node, use.idx) for use in output.uses()]
            rounded = output if node.op_type == "Cast" else op(graph, "Cast", output, to=self.dtype)
            rounded = op(graph, "Cast", rounded, to=ir.DataType.FLOAT)
            rounded.type = ir.TensorType(ir.DataType.FLOAT)
            if node.op_type != "Cast":
                output.type = ir.TensorType(ir.DataType.FLOAT)
            for user, index in uses:
                user.replace_input_with(index, rounded)

    def _is_narrow(self, value: ir.Value | None) -> bool:
        if value is None:
            return False
        maker = value.producer()
        if maker is not None and maker.op_type == "Cast":  # whose output's type need not be written down
            return maker.attributes["to"].as_int() == self.dtype
        return value.dtype == self.dtype

    def _is_computed(self, value: ir.Value) -> bool:
        maker = value.producer()
        return maker is not None and maker.op_type != "Cast" and not self._is_stored(maker)

    def _is_stored(self, node: ir.Node) -> bool:
        """Whether it takes a weight as it is stored: a CPU looks it up, or widens it."""
        read = node.inputs[0] if node.inputs else None
        return node.op_type in ("Gather", "Cast") and read is not None and read.const_value is not None
