"""How far a judge's scores are from those of its float32 form, on text that no calibration saw."""

import logging
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from lager_onnx.export.verify.cures import WIDER
from lager_onnx.export.verify.parity import grade_file
from lager_onnx.models.errors import VerificationError
from lager_onnx.models.method import spearman
from lager_onnx.models.precisions import PARITY, PRECISIONS
from lager_onnx.models.spec import Agreement, JudgeSpec

Array = npt.NDArray[np.floating]
Outputs = dict[str, npt.NDArray[np.float32]]
logger = logging.getLogger(__name__)

_WHOLE_PROMPTS: Final = 6  # that are graded by the judge as a whole
# Standard deviation of a judge's scores, as a share of the scale, below which their order is of chance.
_NO_SPREAD: Final = 0.005


def check_unchanged(got: Outputs, expected: Outputs) -> None:
    """Holds a judge whose weights were rotated and scaled, and not yet rounded, against what it was made from.

    Raises:
        VerificationError: it does not say the same.
    """
    apart = np.abs(got["layer_logits"] - expected["layer_logits"]).max(axis=(0, 2))
    largest = np.abs(expected["layer_logits"]).max(axis=(0, 2))
    limit = PARITY["fp32"].layer_logits
    # Written so that a NaN fails.
    if not (apart <= limit * largest).all():
        row = int((apart / largest).argmax())
        raise VerificationError(
            f"preparing the weights for rounding changed what the judge says: layer logits of row {row} by "
            f"{apart[row] / largest[row]:.1e} (allowed {limit:.0e} of the layer's largest). Nothing was kept. Export "
            "it in fp32, fp16 or bf16"
        )


def compare(got: Array, expected: Array, width: float) -> Agreement:
    """Agreement of two judges' scores (prompts,) of the same prompts; `width` is the scale's."""
    correlation = spearman(got, expected)
    return Agreement(
        score=float(np.abs(got - expected).mean() / width),
        spearman=None if np.isnan(correlation) else correlation,
        spread=float(expected.std() / width),
        prompts=len(got),
    )


def check_agreement(found: Agreement, spec: JudgeSpec) -> None:
    """Holds the agreement against the limits of the judge's precision.

    Raises:
        VerificationError: it is outside them.
    """
    limits = PRECISIONS[spec.precision].agreement
    assert limits is not None
    ranks_matter = not found.spread <= _NO_SPREAD
    correlation = -1.0 if found.spearman is None else found.spearman
    if not ranks_matter:
        logger.warning(
            "the float32 judge's own scores of built-in text hardly differ (standard deviation %.2f%% of the scale): "
            "that the ranks agree cannot be shown", 100 * found.spread,
        )  # fmt: skip
    # Written so that a NaN fails.
    if not (found.score <= limits.score and (correlation >= limits.spearman or not ranks_matter)):
        raise VerificationError(
            f"the {spec.precision} judge disagrees with its float32 form on {found.prompts} built-in prompts: "
            f"scores {found.score:.2%} of the scale apart (allowed {limits.score:.1%}), Spearman "
            f"{correlation:.3f} (at least {limits.spearman:g}). Nothing was kept",
            WIDER,
        )


def check_file(folder: Path, spec: JudgeSpec, prompts: list[list[int]], expected: Outputs) -> None:
    """Holds the judge in `folder`, run as a whole, against what it said layer by layer.

    Raises:
        VerificationError: batches, padding or the KV cache change what it says.
    """
    some = range(0, len(prompts), max(1, len(prompts) // _WHOLE_PROMPTS))
    got, rows = grade_file(folder, spec, [prompts[index] for index in some])
    apart = np.abs(got["score"] - expected["score"][list(some)][rows]).max() / spec.scale.width
    limit = PRECISIONS[spec.precision].agreement
    assert limit is not None
    # Written so that a NaN fails.
    if not apart <= limit.score:
        raise VerificationError(
            f"the {spec.precision} judge, run in batches and in chunks, differs from what it says layer by layer: "
            f"scores {apart:.2%} of the scale apart (allowed {limit.score:.1%}). Nothing was kept"
        )
