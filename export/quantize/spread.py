"""Spreads what the gate of an MLP lets through over several channels, so that none stands out."""

import math
from functools import reduce
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.calibrate.inputs import Inputs
from lager_onnx.export.passes.building import constant
from lager_onnx.export.weights import change_whole, shape_of

Array = npt.NDArray[np.float32]

# Channels that are mixed: with 64 the agreement is no better (BENCHMARKS.md), and this product costs four times less.
_LARGEST_BLOCK: Final = 16


def spread(graph: ir.Graph, down: ir.Node, inputs: Inputs) -> list[ir.Node]:
    """Turns every 16 channels behind a gate by a Hadamard matrix H / 4, and the weight that reads them back.

    A row behind the gate has channels that are many times larger than the rest, and 8 bits for the whole row would
    be spent on them. Unlike the residual stream's, this rotation cannot be folded: the gate is not linear.

        before: gate ─ Mul ─ MatMul(W)
        after:  gate ─ Mul ─ Reshape(..., 16) ─ MatMul(H / 4) ─ Reshape ─ MatMul(H'W / 4)

    An exact rewrite. Source: the online rotation of QuaRot, arXiv 2404.00456, cut into blocks.

    Args:
        graph: that holds it.
        down: the product with W.
        inputs: what `down` reads over calibration text; becomes what it reads afterwards.

    Returns:
        The three nodes that now stand before it, in their order.
    """
    x, weight = down.inputs
    width, _ = shape_of(weight)
    block = math.gcd(width, _LARGEST_BLOCK)
    turn = _hadamard(block) / np.float32(math.sqrt(block))  # symmetric, and its own inverse
    change_whole(weight, lambda array: (turn @ array.reshape(-1, block, array.shape[1])).reshape(array.shape))
    inputs.turn(turn)
    cut = ir.node("Reshape", [x, constant(graph, f"lager.blocks_{block}", [0, -1, block])])
    turned = ir.node("MatMul", [cut.outputs[0], constant(graph, f"lager.hadamard_{block}", turn)])
    joined = ir.node("Reshape", [turned.outputs[0], constant(graph, f"lager.rows_{width}", [0, -1, width])])
    graph.insert_before(down, [cut, turned, joined])
    down.replace_input_with(0, joined.outputs[0])
    return [cut, turned, joined]


def _hadamard(size: int) -> Array:
    """Sylvester's matrix of +1 and -1, (size, size); size is a power of two."""
    doubled = [np.array([[1, 1], [1, -1]], dtype=np.float32)] * (size.bit_length() - 1)
    return reduce(np.kron, doubled, np.ones((1, 1), dtype=np.float32))
