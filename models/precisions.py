"""The table of precisions: how weights are stored, what is multiplied, which steps lead there, what a judge must pass.

Limits were chosen from measurements over all families and three real judges (BENCHMARKS.md, "Agreement").
"""

from dataclasses import dataclass
from typing import Final, Literal

Precision = Literal["fp32", "fp16", "bf16", "int8", "int4"]
# narrow: weights in 16 bits. rotate: the residual stream is turned. smooth, spread: what an MLP's gate lets through is
# evened out. round: products in few bits. blocks: the embedding in blocks of 8 bits. fuse sums: kernels of a norm with
# the sum before it.
Step = Literal["narrow", "rotate", "smooth", "spread", "round", "blocks", "fuse sums"]


@dataclass(frozen=True)
class ParityLimits:
    """Largest differences from PyTorch.

    Attributes:
        layer_logits: relative to the largest logit of the same layer.
        score: relative to the width of the scale.
    """

    layer_logits: float
    score: float


@dataclass(frozen=True)
class ProductLimits:
    """How far a product with rounded weights may be from the one with float32 weights, on the same inputs.

    Attributes:
        error: root mean square of the difference, relative to the product's own.
        gain: of the difference between 1 and the factor by which the product is as a whole too large.
        mean_gain: the same of the mean factor of all products.
    """

    error: float
    gain: float
    mean_gain: float


@dataclass(frozen=True)
class AgreementLimits:
    """How far a judge's scores may be from its float32 form's, on text that no calibration saw.

    Attributes:
        score: largest mean absolute difference, as a share of the scale.
        spearman: smallest correlation of the ranks.
    """

    score: float
    spearman: float


@dataclass(frozen=True)
class Body:
    """A precision of the body; the score head is float32 always.

    Attributes:
        stored: how weights are stored.
        multiplied: what the body's matrix products multiply, in a judge for the CPU.
        steps: what is done to a float32 graph, in this order.
        products: limits of single products; None where weights are not rounded to few bits.
        agreement: limits of the agreement with float32; None for float32 itself.
    """

    stored: str
    multiplied: str
    steps: tuple[Step, ...] = ()
    products: ProductLimits | None = None
    agreement: AgreementLimits | None = None


PRECISIONS: Final[dict[Precision, Body]] = {
    "fp32": Body("float32", "float32", ("fuse sums",)),
    "fp16": Body("float16", "float32", ("narrow", "fuse sums"), agreement=AgreementLimits(0.005, 0.98)),
    "bf16": Body("bfloat16", "float32", ("narrow", "fuse sums"), agreement=AgreementLimits(0.02, 0.9)),
    "int8": Body(
        "8 bits, a scale for each output channel", "8-bit integers",
        ("rotate", "smooth", "spread", "round", "blocks"),
        products=ProductLimits(0.06, 0.01, 0.003), agreement=AgreementLimits(0.05, 0.9),
    ),
    "int4": Body(
        "4 bits, a scale for every 32 inputs of an output channel", "4-bit weights, 8-bit activations",
        ("rotate", "round", "blocks"),
        products=ProductLimits(0.3, 0.05, 0.01), agreement=AgreementLimits(0.08, 0.6),
    ),
}  # fmt: skip

# What products and attention compute in, in a judge for CUDA.
CUDA_ARITHMETIC: Final[dict[Precision, Precision]] = {"bf16": "bf16", "fp16": "fp16", "int4": "bf16"}

# By what products and attention compute in: float32, or 16 bits in a judge for CUDA.
PARITY: Final[dict[str, ParityLimits]] = {
    "fp32": ParityLimits(1e-3, 2.5e-4),
    "fp16": ParityLimits(2e-2, 1e-2),
    "bf16": ParityLimits(1e-1, 5e-2),
}
