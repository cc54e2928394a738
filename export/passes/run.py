"""Runs passes one after another."""

import onnx_ir as ir


def run_passes(model: ir.Model, *passes: ir.passes.PassBase) -> None:
    """Runs them in their order; unlike `ir.passes.Sequential`, an error of ours stays what it is."""
    for each in passes:
        each(model)
