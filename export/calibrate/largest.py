"""The largest numbers that products read and give."""

from typing import Final

import numpy as np
from tqdm import tqdm

from lager_onnx.export.calibrate.sweep import Array, Sweep
from lager_onnx.export.decoder.roles import role_of

_WATCHED: Final = "down"  # behind a gate, where two activations are multiplied


def run_and_watch(sweep: Sweep, what: str) -> dict[str, float]:
    """Takes all prompts of a sweep through all layers, as `Sweep.run_all` does, and watches the MLPs' last products.

    Returns:
        By the name of a product's output, the largest magnitude of what it read and gave.
    """
    largest: dict[str, float] = {}
    for layer in tqdm(sweep.layers, desc=f"    {what}", unit=" layers", disable=None, leave=False):
        products = [node for node in layer.nodes if (role := role_of(node)) and role.part == _WATCHED]
        names = {str(node.outputs[0].name): str(node.inputs[0].name) for node in products if node.inputs[0]}

        def see(_: int, arrays: dict[str, Array], names: dict[str, str] = names) -> None:
            for given, read in names.items():
                found = max(float(np.abs(arrays[name]).max()) for name in (given, read))
                largest[given] = max(largest.get(given, 0.0), found)

        layer.run(sweep.prompts, [*names, *names.values()], see)
    return largest
