"""Compares the exporter's cosines and sines of positions with those that the raw configuration leads to.

The oracle is built from the exporter's own reading of config.json, so the two agree even where that is wrong. This one
fact does not come from there.
"""

import logging
from typing import Final

import numpy as np
import numpy.typing as npt

from lager_onnx.export.sources.source import Source
from lager_onnx.export.verify.raw_rope import raw_tables
from lager_onnx.models.errors import VerificationError
from lager_onnx.models.families import family_of
from lager_onnx.models.spec import JudgeSpec

logger = logging.getLogger(__name__)

_POSITIONS: Final = 2048
# Frequencies and angles are made in float32: an angle of a thousand is off by 1e-4.
_LIMIT: Final = 2e-5
_BY_POSITION: Final = 5e-7

Pair = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]


def check_angles(source: Source, spec: JudgeSpec) -> None:
    """Compare the decoder's rotary tables with those computed from what its files say, in their own words.

    Raises:
        VerificationError: they differ; says of which layers, and from which position on.
    """
    count = min(_POSITIONS, spec.context_length)
    got = source.rotary_tables(count)
    if not got:
        logger.warning("    %s has no rotary embedding that could be compared with its files", source.architecture)
        return
    try:
        expected = raw_tables(source.facts, count)
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise VerificationError(
            f"the rotary embedding of {source.name} cannot be computed from its files ({error!r}), so nothing tells "
            "whether they are read rightly. Nothing was kept"
        ) from error
    if expected is None:
        logger.warning(
            "    the files of %s do not say the size of a head: its rotary embedding is unchecked", source.name
        )
        return
    if family_of(source.architecture) is None and _sizes(got) != _sizes(expected):
        logger.warning("    %s turns a part of a head that is not known: unchecked", source.architecture)
        return
    _compare(source, got, expected)


def _compare(source: Source, got: dict[str, Pair], expected: dict[str, Pair]) -> None:
    for kind in sorted({*got, *expected}):
        if kind in got and kind in expected:
            apart = _first_difference(got[kind], expected[kind])
            if apart is None:
                continue
            where = f"from position {apart} on" if apart >= 0 else "in size"
        else:
            where = "in being there"
        raise VerificationError(
            f"the rotary embedding of {source.name} ({kind}) is another than its files say, {where}: its "
            "configuration is read wrongly, so the judge would grade otherwise than the checkpoint. Nothing was kept"
        )


def _first_difference(got: Pair, expected: Pair) -> int | None:
    """The first position at which they differ; -1 if their sizes do, None if they agree."""
    if got[0].shape != expected[0].shape:
        return -1
    limit = _LIMIT + _BY_POSITION * np.arange(len(got[0]))
    apart = np.maximum(*(np.abs(one - other).max(axis=1) for one, other in zip(got, expected, strict=True)))
    beyond = np.flatnonzero(~(apart <= limit))  # so that a NaN counts
    return int(beyond[0]) if len(beyond) else None


def _sizes(tables: dict[str, Pair]) -> set[int]:
    return {cos.shape[1] for cos, _ in tables.values()}
