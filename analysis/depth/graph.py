"""Takes the upper layers out of a judge's graph."""

from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from lager_onnx.models.errors import JudgeFolderError
from lager_onnx.models.graph import NEXT_LOGITS, PARTS, WRITERS, past, present
from lager_onnx.runtime.graph_file import LAYER_WEIGHTS

_STREAM: Final = "lager.hidden_states"
_POSITION: Final = "lager.score_position"
# Behind paged attention, a Gather takes each token's result from its rows.
_ATTENTIONS: Final = ("GroupQueryAttention", "Gather")
# What works on every token alone, so that one token can be taken before it as well as behind it.
_TOKENWISE: Final = {
    "Abs", "Add", "Cast", "ConstantOfShape", "Div", "Erf", "FastGelu", "Gelu", "LayerNormalization", "MatMul",
    "MatMulIntegerToFloat", "MatMulNBits", "Mul", "QuantizeLinear", "QuickGelu", "ReduceMax", "Reshape", "Shape",
    "Sigmoid", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "Sub", "Tanh",
}  # fmt: skip


def cut_graph(model: ir.Model, depth: int, rows: int) -> None:
    """Keeps the hidden states h(0) to h(depth), in place; what only others were made by is removed.

    Before (h at the score position):

        h(0), ..., h(depth), ..., h(L) ─ Concat ─ ... ─► layer_logits ─ lager.layer_weights ─► logits

    After:

        h(0), ..., h(depth) ─ Concat ─ ... ─► layer_logits ─ lager.layer_weights, still to be set ─► logits

    Behind its attention, the new last layer works on the score position only, as the old one did. What is left can
    grade, and write no more: its last hidden state is not what the unembedding was made for.

    Args:
        model: a judge's graph, as the exporter writes it.
        depth: decoder layers to keep.
        rows: of layer logits that are left.

    Raises:
        JudgeFolderError: the graph is not what the exporter writes.
    """
    graph = model.graph
    by_name = {str(value.name): value for node in graph for value in node.outputs}
    stream, position = by_name.get(_STREAM), by_name.get(_POSITION)
    concat = stream.producer() if stream is not None else None
    weights = graph.initializers.get(LAYER_WEIGHTS)
    if concat is None or concat.op_type != "Concat" or position is None or weights is None:
        raise JudgeFolderError(f"the graph has no {_STREAM}, {_POSITION} and {LAYER_WEIGHTS}: export the judge again")
    hidden = [value for value in concat.inputs[: depth + 1] if value is not None]
    last = hidden[-1].producer()
    if last is not None and last.op_type == "GatherND":
        below = hidden[-2].producer()
        assert below is not None
        hidden[-1] = _only_at(position, graph, last, below.inputs[0])
    shorter = ir.node("Concat", hidden, {"axis": 1})
    graph.append(shorter)
    ir.convenience.replace_all_uses_with(concat.outputs[0], shorter.outputs[0])
    concat.outputs[0].name, shorter.outputs[0].name = None, _STREAM
    weights.const_value = ir.tensor(np.zeros(rows, np.float32), name=LAYER_WEIGHTS)
    weights.shape = ir.Shape([rows])
    _drop_caches(graph, depth)
    for values, name in ((graph.inputs, WRITERS), (graph.outputs, NEXT_LOGITS)):
        values[:] = [value for value in values if value.name != name]
    for value in graph.outputs:
        if value.name == "layer_logits" and value.shape is not None:
            value.shape = ir.Shape([value.shape[0], rows, value.shape[2]])
    graph.sort()
    RemoveUnusedNodesPass()(model)


def _drop_caches(graph: ir.Graph, depth: int) -> None:
    """Takes away the KV caches of layers from `depth` on."""
    names = {str(value.name) for value in [*graph.inputs, *graph.outputs]}
    layer = depth
    while past(layer, PARTS[0]) in names:
        gone = {name(layer, part) for name in (past, present) for part in PARTS}
        graph.outputs[:] = [value for value in graph.outputs if value.name not in gone]
        # An input that is still read by nodes that go later on is taken away here, its readers by what removes them.
        graph.inputs[:] = [value for value in graph.inputs if value.name not in gone]
        layer += 1


def _only_at(position: ir.Value, graph: ir.Graph, gather: ir.Node, below: ir.Value | None) -> ir.Value:
    """h(depth) at the score position, computed for that position only from the layer's attention on.

    Args:
        position: the score position.
        graph: is added to.
        gather: which takes h(depth) at the score position.
        below: h(depth - 1), for all tokens.
    """
    value = gather.inputs[0]
    assert value is not None
    region = _tokenwise(value, below)
    if region is None:
        return gather.outputs[0]
    taken: dict[ir.Value, ir.Value] = {}
    for node in region:
        for index, read in enumerate(node.inputs):
            if read is None or read.producer() in region or not _depends_on_input(read):
                continue
            if read not in taken:
                taken[read] = ir.node("GatherND", [read, position], gather.attributes).outputs[0]
                graph.append(taken[read].producer())  # type: ignore[arg-type]
            node.replace_input_with(index, taken[read])
    return _without_norm(graph, value)


def _without_norm(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """A sum alone, where it is made together with the norm that the next layer would have read."""
    node = value.producer()
    if node is None or node.op_type != "SkipSimplifiedLayerNormalization" or len(node.inputs) > 3:
        return value
    graph.append(ir.node("Add", node.inputs[:2]))
    return graph[-1].outputs[0]


def _tokenwise(value: ir.Value, below: ir.Value | None) -> list[ir.Node] | None:
    """The nodes from attention to `value`; None where one of them needs other tokens, or attention reads it."""
    found: list[ir.Node] = []
    attention: list[ir.Value] = []
    waiting = [value]
    while waiting:
        read = waiting.pop()
        node = read.producer()
        if node is None or node in found or read is below or not _depends_on_input(read):
            continue
        if node.op_type in _ATTENTIONS:
            attention.append(read)
        elif node.op_type in _TOKENWISE:
            found.append(node)
            waiting += [each for each in node.inputs if each is not None]
        else:
            return None
    read_by_attention = {each.producer() for each in _sources(attention)}
    return None if read_by_attention.intersection(found) else found


def _depends_on_input(value: ir.Value) -> bool:
    """Whether a value is computed from the graph's inputs, and not from weights alone."""
    return any(each.is_graph_input() for each in _sources([value]))


def _sources(values: list[ir.Value]) -> set[ir.Value]:
    """Some values and all that they are computed from."""
    waiting, seen = list(values), set(values)
    while waiting:
        node = waiting.pop().producer()
        more = {each for each in node.inputs if each is not None} - seen if node is not None else set()
        waiting, seen = [*waiting, *more], seen | more
    return seen
