"""Holds every product of a judge in few bits against the same product with float32 weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.passes.parts import numpy_of, projections
from lager_onnx.models.errors import VerificationError
from lager_onnx.models.precisions import PRECISIONS
from lager_onnx.models.spec import GRAPH_FILE, JudgeSpec
from lager_onnx.runtime.session import open_session

Array = npt.NDArray[np.float32]

_REFUSED: Final = "Nothing was kept. Export it in a wider precision; --no-verify writes the judge all the same"
_AT_ONCE: Final = 64  # products whose inputs and outputs are held together


@dataclass(frozen=True)
class Product:
    """y = xW of the float32 graph that is about to be rounded.

    Attributes:
        x, y: names of its input and its output, which the rounded graph keeps.
        weight: W, (in, out).
    """

    x: str
    y: str
    weight: Array


@dataclass(frozen=True)
class Deviation:
    """What rounding did to a product over some prompts; see `ProductLimits`."""

    error: float
    gain: float


def products_of(graph: ir.Graph) -> list[Product]:
    """The products of a float32 graph's projections."""
    return [
        Product(node.inputs[0].name or "", node.outputs[0].name or "", numpy_of(node.inputs[1]))
        for node in projections(graph)
        if node.inputs[0] is not None
    ]


def check_products(
    folder: Path, spec: JudgeSpec, products: Sequence[Product], prompts: Sequence[list[int]], scratch: Path
) -> None:
    """Runs the judge in `folder` on prompts and multiplies what its projections read by the float32 weights.

    Unlike scores, a single product has nothing to hide an error in: a weight that was transposed, zeroed or scaled
    wrongly shows by itself, in whichever layer.

    Raises:
        VerificationError: a product is outside the limits of the judge's precision; says which.
    """
    limits = PRECISIONS[spec.precision].products
    assert limits is not None
    session = open_session(
        _with_outputs(folder, products, scratch), device="cpu", int8=spec.precision == "int8"
    ).session
    gains: list[float] = []
    for first in range(0, len(products), _AT_ONCE):
        some = products[first : first + _AT_ONCE]
        names = list(dict.fromkeys(name for product in some for name in (product.x, product.y)))
        runs = []
        for prompt in prompts:
            ids = np.asarray([prompt], dtype=np.int64)
            found = session.run(names, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
            runs.append(dict(zip(names, found, strict=True)))
        for product in some:
            deviation = _deviation(product, runs)
            gains.append(deviation.gain)
            # Written so that a NaN fails.
            if not (deviation.error <= limits.error and abs(deviation.gain - 1) <= limits.gain):
                raise VerificationError(
                    f"the product {product.y} of the {spec.precision} judge is not that of its weights: off by "
                    f"{deviation.error:.1%} (allowed {limits.error:.0%}), too large by a factor of "
                    f"{deviation.gain:.4f} (allowed 1 +- {limits.gain}). {_REFUSED}"
                )
    if not abs(np.mean(gains) - 1) <= limits.mean_gain:
        raise VerificationError(
            f"the mean product of the {spec.precision} judge is not that of its weights: too large by a factor of "
            f"{np.mean(gains):.4f} (allowed 1 +- {limits.mean_gain}). {_REFUSED}"
        )


def _deviation(product: Product, runs: Sequence[dict[str, Array]]) -> Deviation:
    wrong = own = both = 0.0
    for run in runs:
        x, got = (_text(run[name]) for name in (product.x, product.y))
        expected = x @ product.weight
        wrong += float(((got - expected) ** 2).sum())
        own += float((expected**2).sum())
        both += float((got * expected).sum())
    return Deviation(float(np.sqrt(wrong / own)), both / own) if own else Deviation(float(wrong > 0), 1.0)


def _text(rows: Array) -> Array:
    """Rows (tokens, n) without the first token's, which holds no text, and activations that outweigh all others."""
    rows = rows.reshape(-1, rows.shape[-1])
    return rows[1:] if len(rows) > 1 else rows


def _with_outputs(folder: Path, products: Sequence[Product], scratch: Path) -> Path:
    """A copy of the judge's graph that shows what its products read and give."""
    model = ir.load(folder / GRAPH_FILE)
    values = {value.name: value for node in model.graph for value in node.outputs}
    for name in dict.fromkeys(name for product in products for name in (product.x, product.y)):
        value = values.get(name)
        if value is None:
            raise VerificationError(f"the {name} of a projection is missing in the judge's graph: nothing was kept")
        value.type = ir.TensorType(ir.DataType.FLOAT)
        model.graph.outputs.append(value)
    scratch.mkdir(exist_ok=True)
    ir.save(model, scratch / GRAPH_FILE, external_data="model.onnx_data")
    return scratch / GRAPH_FILE
