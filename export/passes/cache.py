"""Keys and values of tokens read before, as optional inputs."""

import numpy as np
import onnx_ir as ir

from lager_onnx.export.passes.building import constant, op
from lager_onnx.models.attention import Attention
from lager_onnx.models.graph import INPUT_IDS, PARTS, PAST_LENGTH, past, present

_LENGTHS = slice(5, 7)  # inputs of GroupQueryAttention: last position of every row, length of the longest


class CachePass(ir.passes.InPlacePass):
    """Lets a prompt be prefilled in chunks, each behind the keys and values of the chunks before.

        before: q, k, v ─ GroupQueryAttention(lengths) ─ context
        after:  q, k, v ┐
                past ───┴ GroupQueryAttention(lengths + past_length) ┬ context
                                                                     └ present

    All new inputs have defaults (nothing read before), so the graph's contract stays as it was. The default is
    empty, for one row; a Reshape gives it as many rows as there are prompts. For a past that is there, the
    Reshape changes nothing and copies nothing: past and present may be one buffer, longer than what it holds.
    Rows that each run one token may have pasts of different lengths.
    """

    def __init__(self, attentions: list[Attention]):
        self.attentions = attentions

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        nodes = [node for node in graph if node.op_type == "GroupQueryAttention"]
        if not nodes:
            return ir.passes.PassResult(model, modified=False)
        past_length = _optional_input(graph, PAST_LENGTH, np.zeros(1, np.int32), ["past_rows"])
        last, longest = nodes[0].inputs[_LENGTHS]
        most = op(graph, "ReduceMax", past_length, keepdims=0)
        lengths = [op(graph, "Add", last, past_length), op(graph, "Add", longest, most)]
        rows = op(graph, "Shape", next(value for value in graph.inputs if value.name == INPUT_IDS), start=0, end=1)
        shapes: dict[tuple[int, int], ir.Value] = {}  # by heads and size: all layers have read as many tokens
        for layer, (node, attention) in enumerate(zip(nodes, self.attentions, strict=True)):
            heads, size = attention.kv_num_heads, attention.head_size
            pasts = [
                _optional_input(
                    graph, past(layer, part), np.zeros((1, heads, 0, size), np.float32),
                    ["past_batch", heads, "past_sequence", size],
                )
                for part in PARTS
            ]  # fmt: skip
            if (heads, size) not in shapes:
                widths = [constant(graph, f"lager.shape_{width}", [width]) for width in (heads, size)]
                read = op(graph, "Shape", pasts[0], start=2, end=3)
                shapes[heads, size] = op(graph, "Concat", rows, widths[0], read, widths[1], axis=0)
            cached = ir.node(
                node.op_type,
                [
                    *node.inputs[:3],
                    *(op(graph, "Reshape", value, shapes[heads, size], allowzero=1) for value in pasts),
                    *lengths,
                    *node.inputs[_LENGTHS.stop :],
                ],
                node.attributes,
                domain=node.domain,
                name=node.name,
                num_outputs=3,
            )
            graph.append(cached)
            ir.convenience.replace_all_uses_with(node.outputs[0], cached.outputs[0])
            cached.outputs[0].name, node.outputs[0].name = node.outputs[0].name, None
            graph.remove(node, safe=True)
            for part, output in zip(PARTS, cached.outputs[1:], strict=True):
                output.name = present(layer, part)
                output.type = ir.TensorType(ir.DataType.FLOAT)
                output.shape = ir.Shape(["batch", heads, "total_sequence", size])
                graph.outputs.append(output)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


def _optional_input(graph: ir.Graph, name: str, default: np.ndarray, shape: list[int | str]) -> ir.Value:
    """An input with a default: an initializer of the same name, which whoever runs the graph may override."""
    dtype = ir.DataType.from_numpy(default.dtype)
    value = ir.Value(
        name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape), const_value=ir.tensor(default, name=name)
    )
    graph.register_initializer(value)
    graph.inputs.append(value)
    return value
