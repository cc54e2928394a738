"""Finds a decoder's parts in its traced graph: residual stream, final norm, unembedding, head operations.

Structure decides, names are only a check:

    input_ids ─ Gather ─ (scaling) ─ h(0) ─ Add ─ h ─ Add ─ h(1) ─ ... ─ Add ─ h(L) ─ norm ─ MatMul ─ ops ─ logits
                                      └ attention ┘    └ MLP ┘                              (unembedding)

The residual stream is the only path from the final norm back to the embedding that runs through additions
alone; every branch that is added to it ends in a MatMul, a norm or a scaling.
"""

import re
from dataclasses import dataclass

import onnx_ir as ir

from lager_onnx.models.errors import ExportError

_ELEMENTWISE = {"Add", "Cast", "Div", "Identity", "Mul", "Sub", "Tanh"}
_LAYER_NAME = re.compile(r"layers\.(\d+)/")


@dataclass(frozen=True)
class Anatomy:
    """Parts of a traced decoder with L layers.

    Attributes:
        residual_stream: h(0) ... h(L) before the final norm, each (batch, sequence, hidden).
        stream: the same, with the sums inside the layers.
        additions_a_layer: 2 where attention and MLP follow one another, 1 where they stand side by side.
        last_attention_addition: the Add of the last layer's attention to the stream.
        attention_outputs: the MatMul of every layer's output projection, L of them.
        normed: output of the final norm, which meets the unembedding.
        unembedding: the MatMul with the (hidden, K) rows of the score tokens.
        embedding_ops: types of the operations between the lookup and h(0).
        head_ops: types of the operations between the unembedding and the logits.
        logits: output of the graph, (batch, sequence, K).
    """

    residual_stream: tuple[ir.Value, ...]
    stream: tuple[ir.Value, ...]
    additions_a_layer: int
    last_attention_addition: ir.Node | None
    attention_outputs: tuple[ir.Node, ...]
    normed: ir.Value
    unembedding: ir.Node
    embedding_ops: tuple[str, ...]
    head_ops: tuple[str, ...]
    logits: ir.Value


def locate(model: ir.Model, num_layers: int) -> Anatomy:
    """Finds the parts of a decoder with `num_layers` layers.

    Raises:
        ExportError: a part is not where the drawing above has it; says what stood there instead.
    """
    logits = next((value for value in model.graph.outputs if value.name == "logits"), None)
    if logits is None:
        raise ExportError(f"the traced graph has no output 'logits', only {[v.name for v in model.graph.outputs]}")
    unembedding, head_ops = find_unembedding(logits)
    normed = input_of(unembedding, 0)
    path = _additions(_final_residual(normed))
    steps, rest = divmod(len(path) - 1, num_layers)
    if rest or not steps:
        raise ExportError(
            f"the residual stream has {len(path) - 1} additions, which {num_layers} layers cannot share evenly"
        )
    stream = tuple(path[::steps])
    attention_outputs = tuple(
        _output_projection(path[first], path[first + 1]) for first in range(0, len(path) - 1, steps)
    )
    for layer, node in enumerate(attention_outputs):
        match = _LAYER_NAME.search(node.name or "")
        if match and int(match[1]) != layer:
            raise ExportError(f"the attention of layer {layer} ends in {node.name}: the graph is not what it seems")
    return Anatomy(
        residual_stream=stream,
        stream=tuple(path),
        additions_a_layer=steps,
        last_attention_addition=path[-steps].producer(),
        attention_outputs=attention_outputs,
        normed=normed,
        unembedding=unembedding,
        embedding_ops=_embedding_ops(stream[0]) or (),
        head_ops=head_ops,
        logits=logits,
    )


def input_of(node: ir.Node, index: int) -> ir.Value:
    """An input that must be there."""
    value = node.inputs[index]
    if value is None:
        raise ExportError(f"input {index} of {node.op_type} {node.name} is missing")
    return value


def data_inputs(node: ir.Node) -> list[ir.Value]:
    """Inputs that are computed from the graph's inputs (constants are initializers by now)."""
    return [value for value in node.inputs if value is not None and value.const_value is None]


def _output_projection(before: ir.Value, after: ir.Value) -> ir.Node:
    """The last MatMul with a weight in the branch that is added to the stream between two of its values."""
    addition = after.producer()
    assert addition is not None
    waiting = [source for source in data_inputs(addition) if source is not before]
    while waiting:
        node = waiting.pop(0).producer()
        if node is not None and node.op_type == "MatMul" and input_of(node, 1).const_value is not None:
            return node
        waiting += data_inputs(node) if node is not None else []
    raise ExportError(f"the branch that is added in {after.name} has no output projection")


def find_unembedding(logits: ir.Value) -> tuple[ir.Node, tuple[str, ...]]:
    """The MatMul above the logits, and the types of the operations between them.

    Raises:
        ExportError: something else stands there; says what.
    """
    ops: list[str] = []
    node = logits.producer()
    while node is not None and node.op_type in _ELEMENTWISE and len(data_inputs(node)) == 1:
        ops.insert(0, node.op_type)
        node = data_inputs(node)[0].producer()
    if node is None or node.op_type != "MatMul" or input_of(node, 1).const_value is None:
        seen = f"{node.op_type} {node.name}" if node else "nothing"
        raise ExportError(f"looked for the unembedding's MatMul above the logits (after {ops}), found {seen}")
    return node, tuple(ops)


def _final_residual(normed: ir.Value) -> ir.Value:
    """h(L): the one sum of two computed values that the final norm starts from."""
    found: list[ir.Value] = []
    waiting, seen = [normed], {normed}
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if node is None:
            continue
        if node.op_type == "Add" and len(data_inputs(node)) == 2:
            found.append(value)
            continue
        for source in data_inputs(node):
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    if len(found) != 1:
        raise ExportError(
            f"the final norm ({normed.name}) starts from {len(found)} sums, not one: {[v.name for v in found]}"
        )
    return found[0]


def _additions(last: ir.Value) -> list[ir.Value]:
    """Values on the path of additions from the embedding to `last`, the embedding first."""
    came_to: dict[ir.Value, ir.Value] = {}
    ends: list[ir.Value] = []
    waiting = [last]
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if _embedding_ops(value) is not None:
            ends.append(value)
        elif node is not None and node.op_type == "Add" and len(data_inputs(node)) == 2:
            for source in data_inputs(node):
                came_to[source] = value
                waiting.append(source)
    if len(ends) != 1:
        raise ExportError(
            f"{len(ends)} paths of additions lead from {last.name} to the embedding, not one: "
            "the residual stream of this architecture is of another kind"
        )
    path = [ends[0]]
    while path[-1] is not last:
        path.append(came_to[path[-1]])
    return path


def _embedding_ops(value: ir.Value) -> tuple[str, ...] | None:
    """Operations from the embedding lookup to `value`; None where it is not a (scaled) lookup."""
    ops: list[str] = []
    node = value.producer()
    while node is not None and node.op_type in _ELEMENTWISE and len(data_inputs(node)) == 1:
        ops.insert(0, node.op_type)
        node = data_inputs(node)[0].producer()
    if node is None or node.op_type != "Gather" or input_of(node, 1).name != "input_ids":
        return None
    return tuple(ops)
