"""Attention that was in one node before."""

import math
from collections.abc import Sequence
from typing import Final

import onnx_ir as ir

from lager_onnx.export.passes.building import constant
from lager_onnx.export.passes.fuse_attention import lengths
from lager_onnx.export.weights import numpy_of
from lager_onnx.models.attention import Attention
from lager_onnx.models.errors import ExportError

# Inputs of GroupQueryAttention: the first of past keys and values, which the two lengths follow; cosines and sines.
_PAST: Final = 3
_TABLES: Final = slice(7, 9)


class AdoptAttentionPass(ir.passes.InPlacePass):
    """Lets attention that is fused already read prompts that are padded on the right, from their beginning.

    before: q, k, v ─ GroupQueryAttention(past, lengths of past and prompt, rotary tables) ─ o
    after:  q, k, v ─ GroupQueryAttention(lengths, rotary tables) ─ o
    """

    def __init__(self, attentions: Sequence[Attention]):
        self.attentions = attentions

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it; nothing, where a layer is not as configured."""
        nodes = fused_attentions(model.graph)
        for layer, (node, attention) in enumerate(zip(nodes, self.attentions, strict=True)):
            _compare(node, attention, layer)
        graph, found = model.graph, lengths(model.graph)
        for node, attention in zip(nodes, self.attentions, strict=True):
            # Under names of our own, tables are no weights of the body, which may be rounded.
            pairs = zip(("cos", "sin"), node.inputs[_TABLES], strict=False)
            tables = [constant(graph, f"lager.{name}.{attention.rotary}", numpy_of(value)) for name, value in pairs]
            for index, value in enumerate((None, None, *found, *tables), start=_PAST):
                node.replace_input_with(index, value)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


def fused_attentions(graph: ir.Graph) -> list[ir.Node]:
    """Attentions that are one node, in the order of layers."""
    return [node for node in graph if node.op_type == "GroupQueryAttention"]


def _compare(node: ir.Node, attention: Attention, layer: int) -> None:
    """Holds a node's numbers against those of its family.

    Raises:
        ExportError: says which differs.
    """
    numbers = {name: attribute.value for name, attribute in node.attributes.items()}
    expected = {
        "num_heads": attention.num_heads, "kv_num_heads": attention.kv_num_heads, "scale": attention.scale,
        "softcap": attention.softcap, "local_window_size": attention.window or -1,
        "do_rotary": int(bool(attention.rotary)),
    }  # fmt: skip
    defaults = {"softcap": 0.0, "local_window_size": -1, "do_rotary": 0, "scale": attention.head_size**-0.5}
    for name, value in expected.items():
        seen = numbers.get(name) or defaults.get(name)
        if seen is None or not math.isclose(seen, value, rel_tol=1e-6):
            raise ExportError(f"the attention of layer {layer} has {name} {seen}, its configuration says {value}")
