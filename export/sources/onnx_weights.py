"""Makes of an ONNX decoder what a trace would have been: no past, float32, and the score rows of the unembedding."""

from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.decoder.locate import find_unembedding
from lager_onnx.export.passes.building import constant
from lager_onnx.export.weights import Weight, array_of, narrowed, numpy_of, shape_of
from lager_onnx.models.errors import CheckpointError

PAST: Final = "past_key_values."
_HALF: Final = ir.DataType.FLOAT16


def forget_past(graph: ir.Graph) -> None:
    """Lets a decoder with a KV cache read prompts from their beginning.

    before: past ─ Concat(past, new) ─ attention, present          after: new ─ attention
    """
    for value in [value for value in graph.inputs if str(value.name).startswith(PAST)]:
        for node, _ in list(value.uses()):
            others = [each for each in node.inputs if each is not value]
            if node.op_type == "Concat" and len(others) == 1 and others[0] is not None:
                ir.convenience.replace_all_uses_with(node.outputs[0], others[0], replace_graph_outputs=True)
                graph.remove(node, safe=True)
        shape = [size if isinstance(size, int) else 0 for size in value.shape or ()]
        shape[0] = 1
        empty = constant(graph, f"lager.empty.{value.name}", np.zeros(shape, np.float32))
        ir.convenience.replace_all_uses_with(value, empty)
        graph.inputs.remove(value)
    for output in [value for value in graph.outputs if value.name != "logits"]:
        graph.outputs.remove(output)


def widen(model: ir.Model) -> None:
    """Makes a graph in fp16, or with weights in blocks of few bits, one in float32, whose weights are made when read.

    Raises:
        CheckpointError: weights are packed in a way that is not known.
    """
    graph = model.graph
    for node in list(graph):
        if node.op_type == "MatMulNBits":
            _unpack(graph, node)
    for value in graph.initializers.values():
        if value.const_value is not None and value.const_value.dtype == _HALF:
            value.const_value = narrowed(value.const_value, ir.DataType.FLOAT)
            value.type = ir.TensorType(ir.DataType.FLOAT)
    for node in graph:
        for name, attribute in list(node.attributes.items()):
            if name == "to" and attribute.as_int() == _HALF:
                node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))
            elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == _HALF:
                wide = ir.tensor(attribute.as_tensor().numpy().astype(np.float32))
                node.attributes[name] = ir.AttrTensor(name, wide)
    for value in [*graph.inputs, *graph.outputs, *(output for node in graph for output in node.outputs)]:
        if value.dtype == _HALF:
            value.type = ir.TensorType(ir.DataType.FLOAT)


def turn_weights(graph: ir.Graph) -> None:
    """Lets transposed weights be weights: an unembedding that is tied to the embedding comes so.

    before: weight ─ Transpose ─ MatMul          after: weight, read transposed ─ MatMul
    """
    for node in list(graph):
        source = node.inputs[0] if node.op_type == "Transpose" else None
        tensor = source.const_value if source is not None else None
        if source is None or tensor is None or len(tensor.shape) != 2:
            continue
        shape, name = shape_of(source)[::-1], f"{node.outputs[0].name}.turned"
        turned = Weight(name, shape, partial(_turned, tensor), apart=False)
        value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=turned.shape, const_value=turned)
        graph.register_initializer(value)
        ir.convenience.replace_all_uses_with(node.outputs[0], value)
        graph.remove(node, safe=True)


def _turned(tensor: ir.TensorProtocol, first: int, end: int) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(array_of(tensor).T[first:end], dtype=np.float32)


def _unpack(graph: ir.Graph, node: ir.Node) -> None:
    """Puts a product in float32 in the place of one with a weight in blocks of 4 bits."""
    size = {name: node.attributes[name].as_int() for name in ("K", "N", "bits", "block_size")}
    others = [value for value in node.inputs[3:] if value is not None]
    if size["bits"] != 4 or len(others) > 1 or any(value.dtype not in (None, ir.DataType.UINT8) for value in others):
        raise CheckpointError(
            f"{node.name} holds weights of {size['bits']} bits with {len(others)} more inputs: only 4 bits, with or "
            "without zero points in bytes, are read"
        )
    packed, scales, zeros = node.inputs[1], node.inputs[2], others[0] if others else None
    assert packed is not None
    name = f"{packed.name}.float32"

    def rows(first: int, end: int) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(_columns(packed, scales, zeros, size).T[first:end])

    tensor = Weight(name, (size["K"], size["N"]), rows, apart=False)
    weight = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=tensor.shape, const_value=tensor)
    graph.register_initializer(weight)
    product = ir.node("MatMul", [node.inputs[0], weight], name=node.name)
    graph.insert_before(node, product)
    old, new = node.outputs[0], product.outputs[0]
    new.type, new.shape = ir.TensorType(ir.DataType.FLOAT), old.shape
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    new.name, old.name = old.name, None


def _columns(packed: ir.Value | None, scales: ir.Value | None, zeros: ir.Value | None, size: dict[str, int]) -> Any:
    """The weight, transposed, (N, K)."""
    blocks = -(-size["K"] // size["block_size"])
    codes = _nibbles(numpy_of(packed).reshape(size["N"], -1))
    codes = codes.reshape(size["N"], blocks, size["block_size"]).astype(np.float32)
    zero: Any = np.float32(8)
    if zeros is not None:
        zero = _nibbles(numpy_of(zeros).reshape(size["N"], -1))[:, :blocks, None].astype(np.float32)
    factor = numpy_of(scales).astype(np.float32).reshape(size["N"], blocks, 1)
    return ((codes - zero) * factor).reshape(size["N"], -1)[:, : size["K"]]


def _nibbles(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)


def keep_score_rows(graph: ir.Graph, score_token_ids: tuple[int, ...]) -> None:
    """Cuts the unembedding down to the score tokens: (hidden, vocabulary) to (hidden, K).

    Raises:
        ExportError: there is no product with a weight above the logits.
    """
    logits = next(value for value in graph.outputs if value.name == "logits")
    node, _ = find_unembedding(logits)
    weight = node.inputs[1]
    ids = list(score_token_ids)
    name, columns = "lm_head.score_rows", np.ascontiguousarray(numpy_of(weight)[:, ids], dtype=np.float32)
    rows = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(columns.shape))
    rows.const_value = ir.tensor(columns, name=name)
    graph.register_initializer(rows)
    node.replace_input_with(1, rows)
    for user in _above(node, logits):
        for index, value in enumerate(user.inputs):
            if value is not None and value.const_value is not None and shape_of(value)[-1:] == (logits_size(logits),):
                cut = constant(graph, f"{value.name}.score_rows", value.const_value.numpy()[..., ids])
                user.replace_input_with(index, cut)
    for value in [node.outputs[0], *(output for user in _above(node, logits) for output in user.outputs)]:
        value.shape = None


def logits_size(logits: ir.Value) -> int:
    """The vocabulary's size, where the graph says it; -1 where not."""
    size = logits.shape[-1] if logits.shape is not None else -1
    return size if isinstance(size, int) else -1


def _above(node: ir.Node, logits: ir.Value) -> list[ir.Node]:
    found: list[ir.Node] = []
    user = logits.producer()
    while user is not None and user is not node:
        found.append(user)
        computed = [value for value in user.inputs if value is not None and value.const_value is None]
        user = computed[0].producer()
    return found
