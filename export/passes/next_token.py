"""Lets a judge write: the logits of the next token, for those who ask."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from lager_onnx.export.decoder.locate import Anatomy, data_inputs, input_of
from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.passes.parts import embedding_lookup
from lager_onnx.export.weights import Weight
from lager_onnx.models.graph import NEXT_LOGITS, WRITERS

_END = 2**31 - 1


class NextTokenPass(ir.passes.InPlacePass):
    """Adds the logits of the token behind each prompt, for as many prompts as `writers` says: none by default.

        before: h(0) ... h(L) ─ norm ─ score rows of the unembedding
        after:  h(0) ... h(L) ─ norm ┬ score rows of the unembedding
                                     └ last row ─ first `writers` prompts ─ unembedding ─ head ops ─► next_token_logits

    A product of no rows costs nothing, so a grade is as quick as without. Where the checkpoint ties its unembedding to
    its embedding, the graph reads that; it is stored once.

    Args:
        anatomy: of the graph.
        unembedding: (vocabulary, hidden); None where it is the embedding.
        bias: of the unembedding, (vocabulary,), if it has one.
    """

    def __init__(self, anatomy: Anatomy, unembedding: Weight | None, bias: Weight | None):
        self.anatomy, self.unembedding, self.bias = anatomy, unembedding, bias

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        zero, one, none, end = (
            constant(graph, f"lager.at_{name}", [number])
            for name, number in (("0", 0), ("1", 1), ("-1", -1), ("end", _END))
        )
        writers = ir.Value(name=WRITERS, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1]))
        writers.const_value = ir.tensor(np.zeros(1, np.int64), name=WRITERS)
        graph.register_initializer(writers)
        graph.inputs.append(writers)
        last = op(graph, "Slice", self.anatomy.normed, none, end, one)
        flat = op(graph, "Squeeze", last, one)  # (batch, hidden)
        chosen = op(graph, "Slice", flat, zero, writers, zero)
        logits = op(graph, "Gemm", chosen, self._weight(graph), transB=1)
        for node in self._head_ops():
            (read,) = data_inputs(node)
            inputs = [logits if value is read else self._wide(graph, value) for value in node.inputs]
            copied = ir.node(node.op_type, inputs, node.attributes)
            graph.append(copied)
            logits = copied.outputs[0]
        logits.name, logits.type = NEXT_LOGITS, ir.TensorType(ir.DataType.FLOAT)
        logits.shape = ir.Shape(["writers", self._tokens(graph)])
        graph.outputs.append(logits)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)

    def _embedding(self, graph: ir.Graph) -> ir.Value:
        return input_of(embedding_lookup(graph), 0)

    def _tokens(self, graph: ir.Graph) -> int:
        shape = self.unembedding.shape if self.unembedding is not None else self._embedding(graph).shape
        assert shape is not None
        return int(shape[0])  # type: ignore[arg-type]

    def _weight(self, graph: ir.Graph) -> ir.Value:
        return self._embedding(graph) if self.unembedding is None else _registered(graph, self.unembedding)

    def _head_ops(self) -> Sequence[ir.Node]:
        """What stands between the unembedding and the logits, in its order."""
        found: list[ir.Node] = []
        node = self.anatomy.logits.producer()
        while node is not None and node is not self.anatomy.unembedding:
            found.insert(0, node)
            node = data_inputs(node)[0].producer()
        return found

    def _wide(self, graph: ir.Graph, value: ir.Value | None) -> ir.Value | None:
        """A constant of a head operation for all tokens, where it is of the score tokens."""
        scores = self.anatomy.unembedding.inputs[1]
        assert scores is not None
        assert scores.shape is not None
        if value is None or value.shape is None or list(value.shape) != [scores.shape[-1]] or self.bias is None:
            return value
        return _registered(graph, self.bias)


def _registered(graph: ir.Graph, weight: Weight) -> ir.Value:
    name = str(weight.name)
    if name not in graph.initializers:
        made = ir.Value(name=name, type=ir.TensorType(weight.dtype), shape=weight.shape, const_value=weight)
        graph.register_initializer(made)
    return graph.initializers[name]
