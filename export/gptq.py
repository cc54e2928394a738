"""Weights in few bits, rounded so that what is multiplied by them changes least."""

from typing import Final

import numpy as np
import numpy.typing as npt

_LAZY: Final = 128  # rows after which the rest of the matrix is brought up to date
_DAMPING: Final = 0.01  # of the mean of the moments' diagonal; the paper's value


def quantize_weight(
    weight: npt.NDArray[np.float32], moments: npt.NDArray[np.float32], *, bits: int = 8, block: int | None = None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """GPTQ with one scale for each output channel, or for each `block` inputs of it.

    Rows are rounded one after another, and every row's error is made good by those that follow, as far as the
    inputs are correlated: it minimises |XW - XQ| over calibration inputs X, not |W - Q|. Source: GPTQ,
    arXiv 2210.17323, algorithm 1.

    Args:
        weight: (in, out).
        moments: X'X of calibration inputs, (in, in).
        bits: of a rounded weight.
        block: a divisor of 128.

    Returns:
        Q, (in, out), in 8 bits between -127 and 127, and the scales (blocks, out), one block without `block`:
        weight is about Q * scales.
    """
    rest, limit = weight.astype(np.float64), 2 ** (bits - 1) - 1
    scales = [_scales(rest, limit)] if block is None else []
    second = moments.astype(np.float64)
    diagonal = np.diag_indices(len(second))
    second[diagonal] += _DAMPING * second[diagonal].mean() + np.finfo(np.float32).tiny
    factor = np.linalg.cholesky(np.linalg.inv(second)).T  # upper
    quantized = np.zeros(weight.shape, np.int8)
    for first in range(0, len(rest), _LAZY):
        end = min(first + _LAZY, len(rest))
        errors = np.zeros((end - first, rest.shape[1]))
        for row in range(first, end):
            if block is not None and row % block == 0:
                scales.append(_scales(rest[row : row + block], limit))
            rounded = np.clip(np.round(rest[row] / scales[-1]), -limit, limit)
            quantized[row] = rounded
            errors[row - first] = (rest[row] - rounded * scales[-1]) / factor[row, row]
            rest[row + 1 : end] -= np.outer(factor[row, row + 1 : end], errors[row - first])
        rest[end:] -= factor[first:end, end:].T @ errors
    return quantized, np.stack(scales).astype(np.float32)


def _scales(weight: npt.NDArray[np.float64], limit: int) -> npt.NDArray[np.float64]:
    """What maps the largest weight of every column to `limit`."""
    scales: npt.NDArray[np.float64] = np.abs(weight).max(axis=0) / limit
    return np.where(scales == 0, 1, scales)
