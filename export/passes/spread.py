"""Spreads what the gate of an MLP lets through over several channels, so that none stands out."""

import math
from functools import reduce
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.passes.parts import numpy_of, projections, reads_gate, set_numpy

# Channels that are mixed: with 64 the agreement is no better (BENCHMARKS.md), and this product costs four times less.
_LARGEST_BLOCK: Final = 16


class SpreadPass(ir.passes.InPlacePass):
    """Turns every 16 channels behind a gate by a Hadamard matrix H / 4, and the weight that reads them back.

    A row behind the gate has channels that are many times larger than the rest, and 8 bits for the whole row would
    be spent on them. Unlike the residual stream's, this rotation cannot be folded: the gate is not linear.

        before: gate ─ Mul ─ MatMul(W)
        after:  gate ─ Mul ─ Reshape(..., 16) ─ MatMul(H / 4) ─ Reshape ─ MatMul(H'W / 4)

    An exact rewrite. Source: the online rotation of QuaRot, arXiv 2404.00456, cut into blocks.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the model in place, as the class draws it."""
        graph = model.graph
        found = [node for node in projections(graph) if reads_gate(node)]
        for node in found:
            x, weight = node.inputs
            width, outputs = numpy_of(weight).shape
            block = math.gcd(width, _LARGEST_BLOCK)
            turn = _hadamard(block) / np.float32(math.sqrt(block))  # symmetric, and its own inverse
            set_numpy(weight, (turn @ numpy_of(weight).reshape(-1, block, outputs)).reshape(width, outputs))
            blocks = op(graph, "Reshape", x, constant(graph, f"lager.blocks_{block}", [0, -1, block]))
            blocks = op(graph, "MatMul", blocks, constant(graph, f"lager.hadamard_{block}", turn))
            rows = op(graph, "Reshape", blocks, constant(graph, f"lager.rows_{width}", [0, -1, width]))
            node.replace_input_with(0, rows)
        graph.sort()
        return ir.passes.PassResult(model, modified=bool(found))


def _hadamard(size: int) -> npt.NDArray[np.float32]:
    """Sylvester's matrix of +1 and -1, (size, size); size is a power of two."""
    doubled = [np.array([[1, 1], [1, -1]], dtype=np.float32)] * (size.bit_length() - 1)
    return reduce(np.kron, doubled, np.ones((1, 1), dtype=np.float32))
