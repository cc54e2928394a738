"""Turns the residual stream, so that no channel stands out."""

import math
from functools import partial

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.passes.parts import NORMS, is_constant, norm_weight, projections, reads_norm
from lager_onnx.export.weights import change_rows, change_whole, numpy_of, set_numpy, shape_of

Array = npt.NDArray[np.float32]
_SEED = 0


class RotatePass(ir.passes.InPlacePass):
    """Multiplies the residual stream by an orthogonal matrix Q that is folded into the weights (QuaRot).

    Few channels of a decoder are many times larger than the others, and 8 bits for the whole row would be spent on
    them. Behind a rotation all channels are alike. RMS norms do not see it once their weights g are folded:

        before: h ─ norm(g) ─ MatMul(W) ... MatMul(V) ─ + h           rows of h at the score position ─ head
        after:  hQ ─ norm(1) ─ MatMul(Q'gW) ... MatMul(VQ) ─ + hQ     rows of hQ ─ MatMul(Q') ─ head

    An exact rewrite. A decoder that norms what it adds to the stream (Gemma, OLMo 2) cannot be rotated and is left
    alone. Source: QuaRot, arXiv 2404.00456; Q is a random orthogonal matrix, which any hidden size has.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        embedding = next(node for node in graph if node.op_type == "Gather" and is_constant(node.inputs[0])).inputs[0]
        head = next((node for node in graph if node.outputs[0].name == "lager.hidden_states"), None)
        readers = [node for node in projections(graph) if reads_norm(node)]
        writers = _writers(graph, head) if head is not None else None
        if head is None or embedding is None or writers is None or not _only_projections_read_norms(graph, head):
            return ir.passes.PassResult(model, modified=False)
        size = shape_of(embedding)[-1]
        rotation = np.linalg.qr(np.random.default_rng(_SEED).standard_normal((size, size)))[0].astype(np.float32)
        change_rows(embedding, lambda rows: rows @ rotation)
        for norm in {id(node.inputs[0].producer()): node.inputs[0].producer() for node in readers}.values():  # type: ignore[union-attr]
            assert norm is not None
            weight = numpy_of(norm_weight(norm))
            for projection in _users(norm):
                change_whole(projection.inputs[1], partial(_read_rotated, rotation, weight))
            set_numpy(norm_weight(norm), np.ones_like(weight))
        for value in writers:
            change_rows(value, lambda rows: rows @ rotation) if len(shape_of(value)) > 1 else change_whole(
                value, lambda bias: bias @ rotation
            )
        _turn_back(graph, head, rotation)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


def _read_rotated(rotation: Array, norm_weight: Array, weight: Array) -> Array:
    """Q'gW."""
    return rotation.T @ (norm_weight[:, None] * weight)


def _writers(graph: ir.Graph, head: ir.Node) -> list[ir.Value] | None:
    """Weights and biases of all that is added to the stream; None where something else stands in between."""
    found: list[ir.Value] = []
    last = head.inputs[-1].producer() if head.inputs[-1] is not None else None
    for addition in (node for node in graph if node.op_type == NORMS[1] or node is last):
        value = addition.inputs[1]
        node = value.producer() if value is not None else None
        while node is not None and node.op_type in ("Add", "Mul"):  # a bias, a multiplier
            constants = [operand for operand in node.inputs if is_constant(operand)]
            if len(constants) != 1:
                return None
            if node.op_type == "Add":
                found += [operand for operand in constants if operand is not None]
            elif math.prod(shape_of(constants[0])) != 1:
                return None
            (moving,) = (operand for operand in node.inputs if not is_constant(operand))
            node = moving.producer() if moving is not None else None
        if node is None or node.op_type != "MatMul" or not is_constant(node.inputs[1]):
            return None
        assert node.inputs[1] is not None
        found.append(node.inputs[1])
    return found or None


def _only_projections_read_norms(graph: ir.Graph, head: ir.Node) -> bool:
    """Whether every norm of the stream, but for the final one, feeds projections alone, and has weights of its own."""
    norms = [node for node in graph if node.op_type in NORMS]
    readers, final = set(projections(graph)), _final_norm(head)
    of_the_stream = [norm for norm in norms if norm is not final and not _is_head_norm(norm)]
    weights = {id(norm_weight(norm)) for norm in norms}
    return len(weights) == len(norms) and all(readers.issuperset(_users(norm)) for norm in of_the_stream)


def _users(norm: ir.Node) -> list[ir.Node]:
    """What reads a norm's output, but for its shape."""
    return [use.node for use in norm.outputs[0].uses() if use.node.op_type != "Shape"]


def _is_head_norm(norm: ir.Node) -> bool:
    """Whether a norm works on queries or keys, cut into heads by a Reshape, and not on the stream."""
    producer = norm.inputs[0].producer() if norm.inputs[0] is not None else None
    return norm.op_type == NORMS[0] and producer is not None and producer.op_type == "Reshape"


def _final_norm(head: ir.Node) -> ir.Node:
    """The norm before the unembedding: of the last row (lens raw) or of all (lens norm)."""
    last = head.inputs[-1].producer() if head.inputs[-1] is not None else None
    if last is not None and last.op_type in NORMS:
        return last
    return next(use.node for use in head.outputs[0].uses())


def _turn_back(graph: ir.Graph, head: ir.Node, rotation: Array) -> None:
    """Lets the score head see the stream as it was."""
    norm = _final_norm(head)
    weight = numpy_of(norm_weight(norm))
    set_numpy(norm_weight(norm), np.ones_like(weight))
    unrotated_normed = constant(graph, "lager.unrotate_normed", rotation.T * weight)
    if norm.inputs[0] is head.outputs[0]:  # lens norm
        users = [(use.node, use.idx) for use in norm.outputs[0].uses()]
        turned = op(graph, "MatMul", norm.outputs[0], unrotated_normed)
    else:
        users = [(use.node, use.idx) for use in head.outputs[0].uses()]
        below = op(graph, "Concat", *head.inputs[:-1], axis=1)
        below = op(graph, "MatMul", below, constant(graph, "lager.unrotate", rotation.T))
        last = op(graph, "MatMul", head.inputs[-1], unrotated_normed)
        turned = op(graph, "Concat", below, last, axis=1)
    for node, index in users:
        node.replace_input_with(index, turned)
