"""Finds what each product with a weight is, from how the nodes of a traced decoder hang together."""

from collections.abc import Iterable, Sequence
from typing import Final

import onnx_ir as ir

from lager_onnx.export.decoder.locate import Anatomy, data_inputs
from lager_onnx.export.decoder.roles import Part, Role, set_role

_CHOOSES: Final = ("Softmax", "TopK", "ScatterElements")  # what a router's logits go through


def record_roles(graph: ir.Graph, anatomy: Anatomy) -> None:
    """Records the role of every product with a weight between the embedding and the final norm."""
    for layer, products in enumerate(_by_layer(graph, anatomy)):
        parts: dict[ir.Node, Part] = dict.fromkeys(products, "other")
        output = anatomy.attention_outputs[layer]
        parts |= _attention(output)
        after = [found for addition in _additions(anatomy, layer) for found in _sources(addition, set(products))]
        for node, chooses in after:
            if node not in (output, *_attention(output)):
                parts[node] = "router" if chooses else "down"
                parts |= {} if chooses else _mlp(node, set(products))
        for node, part in parts.items():
            set_role(node, Role(layer, part))


def _by_layer(graph: ir.Graph, anatomy: Anatomy) -> list[list[ir.Node]]:
    """Products with a weight, by layer."""
    begins = {value: layer for layer, value in enumerate(anatomy.residual_stream)}
    reached: dict[ir.Value, int] = {}
    found: list[list[ir.Node]] = [[] for _ in anatomy.residual_stream[1:]]
    for node in graph:  # sorted
        layer = max((reached.get(value, -1) for value in data_inputs(node)), default=-1)
        reached |= {value: begins.get(value, layer) for value in node.outputs}
        if _is_product(node) and 0 <= layer < len(found):
            found[layer].append(node)
    return found


def _is_product(node: ir.Node) -> bool:
    weight = node.inputs[1] if node.op_type == "MatMul" else None
    return weight is not None and weight.const_value is not None and len(weight.const_value.shape) > 1


def _additions(anatomy: Anatomy, layer: int) -> list[ir.Value]:
    """What a layer adds to the stream: the operand of each addition that is not the stream itself."""
    last, first = anatomy.residual_stream[layer + 1], anatomy.residual_stream[layer]
    added, value = [], last
    while value is not first:
        node = value.producer()
        assert node is not None
        stream = next(each for each in data_inputs(node) if each is first or each in anatomy.stream)
        added += [each for each in data_inputs(node) if each is not stream]
        value = stream
    return added


def _sources(value: ir.Value, products: set[ir.Node]) -> list[tuple[ir.Node, bool]]:
    """The products that a value is computed from, and whether something chooses in between."""
    found: dict[ir.Node, bool] = {}
    seen: set[tuple[ir.Node, bool]] = set()
    waiting = [(value.producer(), False)]
    while waiting:
        node, chooses = waiting.pop()
        if node is None or (node, chooses) in seen:
            continue
        seen.add((node, chooses))
        if node in products:
            found[node] = found.get(node, False) or chooses
            continue
        waiting += [(each.producer(), chooses or node.op_type in _CHOOSES) for each in data_inputs(node)]
    return list(found.items())


def _attention(output: ir.Node) -> dict[ir.Node, Part]:
    """The output projection, and the projections that its attention reads."""
    parts: dict[ir.Node, Part] = {output: "output"}
    names: tuple[Part, ...] = ("query", "key", "value")
    for part, value in zip(names, _operands(output), strict=True):
        node = _back(value)
        if node is not None and _is_product(node):
            parts[node] = "qkv" if node in parts else part
    return parts


def _operands(output: ir.Node) -> Sequence[ir.Value | None]:
    """Queries, keys and values before an output projection; where they are not apart, one value three times."""
    weighted = _back(output.inputs[0])
    if weighted is not None and weighted.op_type == "GroupQueryAttention":
        return [value or weighted.inputs[0] for value in weighted.inputs[:3]]
    scores = _back(weighted.inputs[0]) if weighted is not None else None
    if weighted is None or scores is None:
        return (None,) * 3
    return scores.inputs[0], scores.inputs[1], weighted.inputs[1]


def _back(value: ir.Value | None) -> ir.Node | None:
    """The first product, or fused attention, on the way back along first computed inputs."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type not in ("MatMul", "GroupQueryAttention"):
        sources = data_inputs(node)
        node = sources[0].producer() if sources else None
    return node


def _mlp(down: ir.Node, products: set[ir.Node]) -> dict[ir.Node, Part]:
    """The products that an MLP's second one reads: one for both branches, or the one that passes no activation."""
    x = down.inputs[0]
    assert x is not None
    found = [node for node, _ in _sources(x, products)]
    if len(found) != 2:
        return dict.fromkeys(found, "gate_up" if len(found) == 1 else "other")
    gate = x.producer()
    straight = _straight(gate.inputs if gate is not None and gate.op_type == "Mul" else (), found)
    return {node: "up" if node is straight else "gate" for node in found}


def _straight(operands: Iterable[ir.Value | None], found: list[ir.Node]) -> ir.Node | None:
    """Of two products, the one that an operand is, but for a bias."""
    for operand in operands:
        node = operand.producer() if operand is not None else None
        if node is not None and node.op_type == "Add" and len(data_inputs(node)) == 1:
            node = data_inputs(node)[0].producer()
        if node in found:
            return node
    return None
