"""Weights in few bits, rounded so that what is multiplied by them changes least."""

from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_BLOCK: Final = 128  # rows after which what was lost so far is carried to the next ones; of a block of the factor
_SHARES: Final = (
    1.0,
    0.95,
    0.9,
    0.85,
    0.8,
    0.75,
    0.7,
)  # of the scale with which the largest weight of a block just fits
_DAMPING: Final = 0.01  # of the mean of the moments' diagonal; GPTQ's value


def quantize_weight(
    weight: Array, moments: Array, *, bits: int = 8, block: int | None = None
) -> tuple[npt.NDArray[np.int8], Array]:
    """GPTQ with one scale for each output channel, or for each `block` inputs of it.

    Rows are rounded one after another, and every row's error is made good by those that follow, as far as the
    inputs are correlated: it minimises |XW - XQ| over calibration inputs X, not |W - Q|. With X'X = R R' (R upper) that
    is |R'(W - Q)|, solved row by row from the first:

        q_i = round(w_i + 1 / R_ii sum_(j<i) R_ji (w_j - q_j))

    Sources: GPTQ, arXiv 2210.17323; as Babai's nearest plane, which needs no inverse, arXiv 2507.18553.

    Args:
        weight: (in, out).
        moments: X'X of calibration inputs, (in, in); overwritten, so that no second matrix of its size is needed.
        bits: of a rounded weight.
        block: a divisor of 128.

    Returns:
        Q, (in, out), in 8 bits between -127 and 127, and the scales (blocks, out), one block without `block`:
        weight is about Q * scales.
    """
    limit, (inputs, outputs) = 2 ** (bits - 1) - 1, weight.shape
    importance = np.diag(moments).copy()
    upper = upper_factor(moments)
    scales = [_scales(weight, limit)] if block is None else []
    quantized, lost = np.zeros(weight.shape, np.int8), np.zeros(weight.shape, np.float32)  # lost: w - q
    for first in range(0, inputs, _BLOCK):
        end = min(first + _BLOCK, inputs)
        carried = upper[:first, first:end].T @ lost[:first] if first else np.zeros((end - first, outputs), np.float32)
        for row in range(first, end):
            if block is not None and row % block == 0:
                stop = min(row + block, end)
                own = carried[row - first : stop - first] + upper[first:row, row:stop].T @ lost[first:row]
                # What these rows would be if all before them were made good, none of their own being rounded.
                rest = weight[row:stop] + np.linalg.solve(upper[row:stop, row:stop].T, own)
                scales.append(_best_scales(rest, limit, importance[row:stop]))
            before = carried[row - first] + upper[first:row, row] @ lost[first:row]
            rounded = np.clip(np.round((weight[row] + before / upper[row, row]) / scales[-1]), -limit, limit)
            quantized[row] = rounded
            lost[row] = weight[row] - rounded * scales[-1]
    return quantized, np.stack(scales)


def upper_factor(moments: Array) -> Array:
    """R of moments + damping = R R', (in, in), in the place of `moments`: Cholesky's factor, from the last block on.

    By blocks, since LAPACK crashes on matrices above 2 GiB (28,672 inputs, say). With what later blocks explain taken
    out of block b, R_bb is its own factor and R_ab = M_ab inv(R_bb)' for those before it.
    """
    diagonal = np.diag_indices(len(moments))
    moments[diagonal] += _DAMPING * moments[diagonal].mean() + np.finfo(np.float32).tiny
    for first in reversed(range(0, len(moments), _BLOCK)):
        here, later = slice(first, first + _BLOCK), slice(first + _BLOCK, None)
        moments[: here.stop, here] -= moments[: here.stop, later] @ moments[here, later].T
        # NumPy's is a lower factor: an upper one read backwards.
        own = np.linalg.cholesky(moments[here, here][::-1, ::-1])[::-1, ::-1]
        moments[:first, here] = moments[:first, here] @ np.linalg.inv(own).T
        moments[here, here] = own
        moments[here, :first] = 0
    return moments


def _best_scales(weight: Array, limit: int, importance: Array) -> Array:
    """Of some scales that cut off the largest weights, those that lose least over all, each row by its importance."""
    largest = _scales(weight, limit)
    best, least = largest, np.full(largest.shape, np.inf, np.float32)
    for share in _SHARES:
        scales = largest * np.float32(share)
        lost = weight - np.clip(np.round(weight / scales), -limit, limit) * scales
        errors = importance @ (lost * lost)
        best, least = np.where(errors < least, scales, best), np.minimum(errors, least)
    return best


def _scales(weight: Array, limit: int) -> Array:
    """What maps the largest weight of every column to `limit`."""
    scales: Array = np.abs(weight).max(axis=0) / np.float32(limit)
    return np.where(scales == 0, np.float32(1), scales)
