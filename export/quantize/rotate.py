"""Turns the residual stream, so that no channel stands out."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.decoder.roles import READERS, projections
from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.passes.parts import NORM, embedding_lookup, is_constant, norm_weight
from lager_onnx.export.weights import change_rows, change_whole, numpy_of, set_numpy, shape_of

Array = npt.NDArray[np.float32]
_SEED = 0


@dataclass(frozen=True)
class Rotation:
    """What is rotated.

    Attributes:
        embedding: which begins the stream.
        norms: that read it, but for the final one; their products are turned back.
        written: weights and biases of all that is added to it.
        head: the node that gathers hidden states for the score head.
    """

    embedding: ir.Value
    norms: list[ir.Node]
    written: list[ir.Value]
    head: ir.Node


def plan_rotation(graph: ir.Graph) -> Rotation | None:
    """What is rotated of a fused float32 graph; None where the decoder cannot be. Changes nothing."""
    embedding = embedding_lookup(graph).inputs[0]
    head = next((node for node in graph if node.outputs[0].name == "lager.hidden_states"), None)
    written = [_written(node) for node in projections(graph, "output", "down")]
    if head is None or embedding is None or not written:
        return None
    all_norms = [node for node in graph if node.op_type == NORM]
    readers = set(projections(graph, *READERS))
    norms = [norm for norm in all_norms if norm.inputs[0] is not head.outputs[0] and not _is_head_norm(norm)]
    weights = {id(norm_weight(norm)) for norm in all_norms}
    only_projections_read = all(readers.issuperset(_users(norm)) for norm in norms)
    if len(weights) != len(all_norms) or not only_projections_read or any(values is None for values in written):
        return None
    return Rotation(embedding, norms, [value for values in written for value in values or ()], head)


class RotatePass(ir.passes.InPlacePass):
    """Multiplies the residual stream by an orthogonal matrix Q that is folded into the weights (QuaRot).

    Few channels of a decoder are many times larger than the others, and 8 bits for the whole row would be spent on
    them. Behind a rotation all channels are alike. RMS norms do not see it once their weights g are folded:

        before: h ─ norm(g) ─ MatMul(W) ... MatMul(V) ─ + h           rows of h at the score position ─ head
        after:  hQ ─ norm(1) ─ MatMul(Q'gW) ... MatMul(VQ) ─ + hQ     rows of hQ ─ MatMul(Q') ─ head

    An exact rewrite. A decoder that norms what it adds to the stream (Gemma, OLMo 2) cannot be rotated and is left
    alone. Source: QuaRot, arXiv 2404.00456; Q is a random orthogonal matrix, which any hidden size has.

    Args:
        plan: what `plan_rotation` found.
    """

    def __init__(self, plan: Rotation):
        self.plan = plan

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph, plan = model.graph, self.plan
        size = shape_of(plan.embedding)[-1]
        rotation = np.linalg.qr(np.random.default_rng(_SEED).standard_normal((size, size)))[0].astype(np.float32)
        change_rows(plan.embedding, lambda rows: rows @ rotation)
        for norm in plan.norms:
            weight = numpy_of(norm_weight(norm))
            for projection in _users(norm):
                change_whole(projection.inputs[1], partial(_read_rotated, rotation, weight))
            set_numpy(norm_weight(norm), np.ones_like(weight))
        for value in plan.written:
            change = change_rows if len(shape_of(value)) > 1 else change_whole
            change(value, lambda array: array @ rotation)
        _turn_back(graph, plan.head, rotation)
        _turn_again(graph, plan.embedding)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


def _read_rotated(rotation: Array, norm_weight: Array, weight: Array) -> Array:
    """Q'gW."""
    return rotation.T @ (norm_weight[:, None] * weight)


def _written(product: ir.Node) -> list[ir.Value] | None:
    """Weight and bias of a product that is added to the stream; None where something else stands in between."""
    found = [product.inputs[1]]
    value = product.outputs[0]
    while True:
        users = [use.node for use in value.uses() if use.node.op_type != "Shape"]
        if len(users) != 1 or users[0].op_type not in ("Add", "Mul"):
            return None
        (user,) = users
        constants = [operand for operand in user.inputs if is_constant(operand)]
        if not constants:  # the sum
            return [each for each in found if each is not None] if user.op_type == "Add" else None
        if user.op_type == "Add":  # a bias
            found += constants
        elif math.prod(shape_of(constants[0])) != 1:  # no multiplier
            return None
        value = user.outputs[0]


def _users(norm: ir.Node) -> list[ir.Node]:
    """What reads a norm's output, but for its shape."""
    return [use.node for use in norm.outputs[0].uses() if use.node.op_type != "Shape"]


def _is_head_norm(norm: ir.Node) -> bool:
    """Whether a norm works on queries or keys, cut into heads by a Reshape, and not on the stream."""
    producer = norm.inputs[0].producer() if norm.inputs[0] is not None else None
    return norm.op_type == NORM and producer is not None and producer.op_type == "Reshape"


def _turn_back(graph: ir.Graph, head: ir.Node, rotation: Array) -> None:
    """Lets the score head see the stream as it was."""
    users = [(use.node, use.idx) for use in head.outputs[0].uses()]
    turned = op(graph, "MatMul", head.outputs[0], constant(graph, "lager.unrotate", rotation.T))
    for node, index in users:
        node.replace_input_with(index, turned)


def _turn_again(graph: ir.Graph, embedding: ir.Value) -> None:
    """Lets an unembedding that is the rotated embedding see the last row as the stream has it."""
    for use in list(embedding.uses()):
        if use.node.op_type == "Gemm":
            row = op(graph, "Gemm", use.node.inputs[0], graph.initializers["lager.unrotate"], transB=1)
            use.node.replace_input_with(0, row)
