"""A float32 judge becomes one in 8 or 4 bits: layer by layer, each weight written as soon as it is rounded."""

import logging
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from tqdm import tqdm

from lager_onnx.export.calibrate.inputs import Inputs
from lager_onnx.export.calibrate.sweep import Layer, Sweep
from lager_onnx.export.decoder.roles import projections, role_of
from lager_onnx.export.passes.parts import reads_gate
from lager_onnx.export.quantize.embedding import EmbeddingBlocksPass
from lager_onnx.export.quantize.int4 import Int4Rounding
from lager_onnx.export.quantize.int8 import Int8Rounding, use_blocks
from lager_onnx.export.quantize.rotate import RotatePass, plan_rotation
from lager_onnx.export.quantize.smooth import smooth
from lager_onnx.export.quantize.spread import spread
from lager_onnx.export.verify.products import Product
from lager_onnx.export.weights import Weight, tensor_of
from lager_onnx.models.precisions import PRECISIONS, Step
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.weights_file import WeightsFile

logger = logging.getLogger(__name__)

Outputs = dict[str, npt.NDArray[np.float32]]


class Rounding(Protocol):
    """Puts a rounded product in the place of a MatMul, and returns the initializers that hold its weight."""

    def round(self, node: ir.Node, inputs: Inputs) -> list[ir.Value]:
        """See `Int8Rounding.round`."""


def quantize(
    model: ir.Model, spec: JudgeSpec, text: list[list[int]], held_out: list[list[int]], file: WeightsFile
) -> tuple[list[Product], Outputs]:
    """Quantises a float32 graph in place, as the judge's precision says, and writes its weights.

    Each layer reads the calibration text with its float32 weights; then its weights are prepared, which changes no
    score; the prepared layer reads the other prompts; then the weights are rounded, written and forgotten.

    Args:
        model: as `rewrite` leaves it.
        spec: what the judge is; its precision is int8 or int4.
        text: prompts to calibrate on, as token ids.
        held_out: other prompts.
        file: of the judge.

    Returns:
        The products that were rounded, with their prepared float32 weights, and what the prepared judge says of
        the other prompts.
    """
    steps = PRECISIONS[spec.precision].steps
    rotation = plan_rotation(model.graph) if "rotate" in steps else None
    rotated = rotation is not None
    if rotation is not None:
        RotatePass(rotation)(model)
    else:
        logger.info("    this decoder's stream cannot be rotated: every row of activations gets its own scale")
    graph, body = model.graph, set(projections(model.graph))
    rounding: Rounding = (
        Int8Rounding(graph, rotated=rotated) if spec.precision == "int8" else Int4Rounding(graph, spec.arithmetic)
    )
    sweep = Sweep(model, [*text, *held_out])
    calibration, others = sweep.prompts[: len(text)], sweep.prompts[len(text) :]
    products: list[Product] = []
    for layer in tqdm(sweep.layers, desc="    quantise", unit=" layers", disable=None, leave=False):
        found = [node for node in layer.nodes if node in body]
        held = [tensor for node in found if isinstance(tensor := tensor_of(node.inputs[1]), Weight)]
        for weight in held:
            weight.hold()
        seen = _see(layer, found, calibration)
        _prepare(graph, layer, found, seen, steps)
        layer.run(others)
        products += _round(graph, found, seen, rounding, file)
        for weight in held:
            weight.release()
    if spec.precision == "int8":
        use_blocks(model)
    graph.sort()
    if "blocks" in steps:
        EmbeddingBlocksPass()(model)
    return products, sweep.outputs(others)


def _see(layer: Layer, found: list[ir.Node], prompts: range) -> dict[ir.Value, Inputs]:
    """What the projections of a layer read over calibration text."""
    read = {node.inputs[0]: tensor_of(node.inputs[1]) for node in found}
    seen = {value: Inputs.of(int(tensor.shape.numpy()[0])) for value, tensor in read.items() if value is not None}

    def see(_prompt: int, arrays: Outputs) -> None:
        for value, inputs in seen.items():
            rows = arrays[str(value.name)]
            inputs.add(rows.reshape(-1, rows.shape[-1]))

    layer.run(prompts, [str(value.name) for value in seen], see)
    for inputs in seen.values():
        inputs.finish()
    return seen


def _prepare(
    graph: ir.Graph, layer: Layer, found: list[ir.Node], seen: dict[ir.Value, Inputs], steps: tuple[Step, ...]
) -> None:
    """Smooths and spreads what the second product of an MLP reads."""
    downs = [node for node in found if _is_down(node) and reads_gate(node)]
    for node in downs:
        x = node.inputs[0]
        assert x is not None
        inputs = seen.pop(x)
        if "smooth" in steps:
            smooth(node, found, inputs)
        if "spread" in steps:
            at = layer.nodes.index(node)
            layer.nodes[at:at] = spread(graph, node, inputs)
        assert node.inputs[0] is not None
        seen[node.inputs[0]] = inputs


def _is_down(node: ir.Node) -> bool:
    role = role_of(node)
    return role is not None and role.part == "down"


def _round(
    graph: ir.Graph, found: list[ir.Node], seen: dict[ir.Value, Inputs], rounding: Rounding, file: WeightsFile
) -> list[Product]:
    products = []
    for index, node in enumerate(found):
        x, weight = node.inputs
        assert x is not None
        assert weight is not None
        products.append(Product(str(x.name), str(node.outputs[0].name), tensor_of(weight)))
        again = any(other.inputs[0] is x for other in found[index + 1 :])
        inputs = seen[x].copy() if again else seen.pop(x)
        for value in rounding.round(node, inputs):
            file.store(value)
        if not weight.uses():
            graph.initializers.pop(str(weight.name))
    return products
