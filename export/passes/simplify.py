"""Shortens a traced graph without changing what it computes."""

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.optimizer._constant_folding import FoldConstantsPass

# Tensors up to this many elements are folded: shapes, scalars, masks of nothing. Weights are left alone.
_FOLD_LIMIT = 16 * 1024


def simplify() -> ir.passes.Sequential:
    """Folds constants, merges equal subexpressions, and makes initializers of all constant nodes.

    Before: 7,299 nodes for SmolLM2-135M, of which 2,652 constants; after: about 3,500.
    """
    return ir.passes.Sequential(
        FoldConstantsPass(shape_inference=True, input_size_limit=_FOLD_LIMIT, output_size_limit=_FOLD_LIMIT),
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
    )


def remove_unused() -> ir.passes.PassBase:
    """Removes what nothing reads any more, weights included."""
    return common.RemoveUnusedNodesPass()
