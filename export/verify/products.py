"""Holds every product of a judge in few bits against the same product with float32 weights."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from tqdm import tqdm

from lager_onnx.export.calibrate.sweep import Layer, Sweep
from lager_onnx.export.verify.cures import WIDER
from lager_onnx.export.verify.emulate import feeds, load_for_cpu
from lager_onnx.export.weights import array_of
from lager_onnx.models.errors import VerificationError
from lager_onnx.models.precisions import PRECISIONS
from lager_onnx.models.spec import JudgeSpec

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]
Outputs = dict[str, Array]

_PROMPTS: Final = 12  # on which products are compared


@dataclass(frozen=True)
class Product:
    """y = xW of the float32 graph that is about to be rounded.

    Attributes:
        x, y: names of its input and its output, which the rounded graph keeps.
        weight: W, (in, out), made when it is read.
    """

    x: str
    y: str
    weight: ir.TensorProtocol


@dataclass(frozen=True)
class Deviation:
    """What rounding did to a product over some prompts; see `ProductLimits`."""

    error: float
    gain: float


def grade_and_check(
    folder: Path, spec: JudgeSpec, products: Sequence[Product], prompts: Sequence[list[int]]
) -> Outputs:
    """Runs the judge in `folder` layer by layer, and multiplies what its products read by the float32 weights.

    Unlike scores, a single product has nothing to hide an error in: a weight that was transposed, zeroed or scaled
    wrongly shows by itself, in whichever layer.

    Args:
        folder: the judge as it was written.
        spec: what it is.
        products: what was rounded; none to check nothing.
        prompts: token ids; products are compared on some of them.

    Returns:
        What it says of the prompts.

    Raises:
        VerificationError: a product is outside the limits of the judge's precision; says which.
    """
    model = load_for_cpu(folder, spec)
    sweep = Sweep(model, feeds(model, prompts), precision=spec.precision)
    some = sweep.prompts[:: max(1, len(prompts) // _PROMPTS)]
    waiting, found = list(products), list[Deviation]()
    for layer in tqdm(sweep.layers, desc="    verify", unit=" layers", disable=None, leave=False):
        made = {str(value.name) for node in layer.nodes for value in node.outputs}
        here = [product for product in waiting if product.y in made]
        waiting = [product for product in waiting if product.y not in made]
        found += _check_layer(layer, here, spec, some, sweep.prompts)
    if waiting:
        raise VerificationError(f"the product {waiting[0].y} is missing in the judge's graph: nothing was kept")
    limits = PRECISIONS[spec.precision].products
    if limits is not None and found:
        gain, worst = float(np.mean([each.gain for each in found])), max(each.error for each in found)
        if not abs(gain - 1) <= limits.mean_gain:
            raise VerificationError(
                f"the mean product of the {spec.precision} judge is not that of its weights: too large by a factor of "
                f"{gain:.4f} (allowed 1 +- {limits.mean_gain}). Nothing was kept",
                WIDER,
            )
        logger.info(
            "    %d products: off by %.1f%% at most (allowed %.0f%%)", len(found), 100 * worst, 100 * limits.error
        )
    return sweep.outputs(sweep.prompts)


def _check_layer(
    layer: Layer, products: Sequence[Product], spec: JudgeSpec, some: range, prompts: range
) -> list[Deviation]:
    """Takes all prompts through a layer, and checks its products on some of them."""
    runs: list[dict[str, Array]] = []

    def see(index: int, arrays: dict[str, Array]) -> None:
        if index in some:
            runs.append({name: _text(array) for name, array in arrays.items()})

    layer.run(prompts, list(dict.fromkeys(name for product in products for name in (product.x, product.y))), see)
    found = []
    limits = PRECISIONS[spec.precision].products
    for product in products:
        deviation = _deviation(product, runs)
        found.append(deviation)
        # Written so that a NaN fails.
        if limits is None or not (deviation.error <= limits.error and abs(deviation.gain - 1) <= limits.gain):
            raise VerificationError(
                f"the product {product.y} of the {spec.precision} judge is not that of its weights: off by "
                f"{deviation.error:.1%}, too large by a factor of {deviation.gain:.4f} (allowed: {limits}). "
                "Nothing was kept",
                WIDER,
            )
    return found


def _deviation(product: Product, runs: Sequence[dict[str, Array]]) -> Deviation:
    x, got = (np.concatenate([run[name] for run in runs]) for name in (product.x, product.y))
    expected = x @ array_of(product.weight)
    wrong, own = (float(np.vdot(array, array)) for array in (got - expected, expected))
    return (
        Deviation(math.sqrt(wrong / own), float(np.vdot(got, expected)) / own)
        if own
        else Deviation(float(wrong > 0), 1.0)
    )


def _text(rows: Array) -> Array:
    """Rows (tokens, n) without the first token's, which holds no text, and activations that outweigh all others."""
    rows = rows.reshape(-1, rows.shape[-1])
    return rows[1:] if len(rows) > 1 else rows
