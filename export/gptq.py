"""Weights in 8 bits, rounded so that what is multiplied by them changes least."""

import numpy as np
import numpy.typing as npt

_BLOCK = 128
_DAMPING = 0.01  # of the mean of the moments' diagonal; the paper's value


def quantize_weight(
    weight: npt.NDArray[np.float32], moments: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """GPTQ with one scale for each output channel.

    Rows are rounded one after another, and every row's error is made good by those that follow, as far as the
    inputs are correlated: it minimises |XW - XQ| over calibration inputs X, not |W - Q|. Source: GPTQ,
    arXiv 2210.17323, algorithm 1.

    Args:
        weight: (in, out).
        moments: X'X of calibration inputs, (in, in).

    Returns:
        Q, (in, out) between -127 and 127, and the scales (out,): weight is about Q * scales.
    """
    rest = weight.astype(np.float64)
    scales = np.abs(rest).max(axis=0) / 127
    scales[scales == 0] = 1
    second = moments.astype(np.float64)
    diagonal = np.diag_indices(len(second))
    second[diagonal] += _DAMPING * second[diagonal].mean() + np.finfo(np.float32).tiny
    factor = np.linalg.cholesky(np.linalg.inv(second)).T  # upper
    quantized = np.zeros(weight.shape, np.int8)
    for first in range(0, len(rest), _BLOCK):
        end = min(first + _BLOCK, len(rest))
        errors = np.zeros((end - first, rest.shape[1]))
        for row in range(first, end):
            rounded = np.clip(np.round(rest[row] / scales), -127, 127)
            quantized[row] = rounded
            errors[row - first] = (rest[row] - rounded * scales) / factor[row, row]
            rest[row + 1 : end] -= np.outer(factor[row, row + 1 : end], errors[row - first])
        rest[end:] -= factor[first:end, end:].T @ errors
    return quantized, scales.astype(np.float32)
