"""Compares the exporter's cosines and sines of positions with those that the raw configuration leads to.

The oracle is built from the exporter's own reading of config.json, so the two agree even where that is wrong. This one
fact does not come from there.
"""

import logging
from typing import Final

import numpy as np
import numpy.typing as npt

from lager_onnx.export.sources.source import Source
from lager_onnx.export.verify.raw_rope import raw_frequencies
from lager_onnx.models.errors import VerificationError
from lager_onnx.models.families import family_of
from lager_onnx.models.spec import JudgeSpec

logger = logging.getLogger(__name__)

_POSITIONS: Final = 2048
_ERRORS: Final = {"fp32": 5e-7, "fp16": 1e-3}  # of frequencies and angles, relative; and of cosines and sines
_LEAST: Final = 2e-5  # of the latter

Pair = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]


def check_angles(source: Source, spec: JudgeSpec) -> None:
    """Compare the decoder's rotary tables with those computed from what its files say, in their own words.

    Raises:
        VerificationError: they differ; names the layers, and the position from which on.
    """
    count = min(_POSITIONS, spec.context_length)
    got = source.rotary_tables(count)
    if not got:
        logger.warning("    %s has no rotary embedding that could be compared with its files", source.architecture)
        return
    try:
        expected = raw_frequencies(source.facts, count)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise VerificationError(
            f"the rotary embedding of {source.name} cannot be computed from its files ({error!r}), so nothing tells "
            "whether they are read rightly. Nothing was kept"
        ) from error
    if expected is None:
        logger.warning("    %s does not say the size of a head: its rotary embedding is unchecked", source.name)
        return
    sizes = [{len(frequencies) for frequencies, _ in expected.values()}, {cos.shape[1] for cos, _ in got.values()}]
    if family_of(source.architecture) is None and sizes[0] != sizes[1]:
        logger.warning("    %s turns a part of a head that is not known: unchecked", source.architecture)
        return
    for kind in sorted({*got, *expected}):
        both = kind in got and kind in expected
        found = _difference(got[kind], *expected[kind], _ERRORS[source.rotary_precision]) if both else ""
        if found is not None:
            raise VerificationError(
                f"the rotary embedding of {source.name} ({kind}) is another than its files say{found}: they are read "
                "wrongly, so the judge would grade otherwise than the checkpoint. Nothing was kept"
            )


def _difference(got: Pair, frequencies: npt.NDArray[np.float64], factor: float, error: float) -> str | None:
    """Return where cosines and sines differ from those of the frequencies, in words; None if nowhere."""
    angles = np.arange(len(got[0]))[:, None] * frequencies  # (positions, size / 2)
    if got[0].shape != angles.shape:
        return f", in size ({2 * got[0].shape[1]} dimensions, not {2 * angles.shape[1]})"
    limit = factor * (max(error, _LEAST) + error * angles)
    difference = np.maximum(np.abs(got[0] - factor * np.cos(angles)), np.abs(got[1] - factor * np.sin(angles)))
    beyond = np.flatnonzero(~(difference <= limit).all(axis=1))  # so that a NaN counts
    return f", from position {beyond[0]} on" if len(beyond) else None
