"""Makes sure that this machine multiplies 8-bit integers without saturation, and proves it.

On x86 processors with AVX2 or AVX512, but without VNNI, onnxruntime's quickest products of unsigned and signed bytes
add pairs of them in 16 bits, and what does not fit is cut off (its issue 6004). `session.x64quantprecision` makes them
exact. It is set only where it is needed: on processors with AMX it would cost more than half of the speed.
"""

from importlib.resources import files
from typing import Final

import numpy as np
import onnxruntime

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import DeviceError

# y = MatMulIntegerToFloat(x, W): x (rows, 64) unsigned bytes with zero point 128; W (64, 16) signed bytes, a column all
# 127 or all -127; all scales 1. tests/support/saturating_product.py makes it.
_MODEL: Final = files("lager_onnx.runtime") / "saturating_product.onnx"
_DEPTH: Final = 64
_ZERO_POINT: Final = 128
_ROWS: Final = (1, 5)  # one row goes through another kernel than several
_EXTREMES: Final = (0, 255)


def make_products_exact(options: onnxruntime.SessionOptions) -> None:
    """Multiplies the largest and smallest bytes on the CPU; if a sum is wrong, changes the options and tries again.

    Raises:
        DeviceError: a sum is still not the exact one.
    """
    if wrong_sum(options) is None:
        return
    options.add_session_config_entry("session.x64quantprecision", "1")
    wrong = wrong_sum(options)
    if wrong is not None:
        update = f"update onnxruntime (this is {onnxruntime.__version__}), or export the judge with"
        raise DeviceError(
            f"products in 8 bits are not exact on this processor: a sum of {wrong[0]:.0f} came out as {wrong[1]:.0f}. "
            f"An int8 judge would grade wrongly here",
            Cure(
                command=f"{update} --precision fp32, bf16 or int4",
                python=f'{update} precision="fp32", "bf16" or "int4"',
            ),
        )


def wrong_sum(options: onnxruntime.SessionOptions) -> tuple[float, float] | None:
    """A sum of products of bytes, and what came out instead; None where all are exact."""
    session = onnxruntime.InferenceSession(_MODEL.read_bytes(), options, providers=["CPUExecutionProvider"])
    for rows in _ROWS:
        for byte in _EXTREMES:
            (got,) = session.run(None, {"x": np.full((rows, _DEPTH), byte, np.uint8)})
            expected = abs(byte - _ZERO_POINT) * 127 * _DEPTH  # times the sign of the column
            if not np.array_equal(np.abs(got), np.full(got.shape, expected, np.float32)):
                return expected, float(np.abs(got).min())
    return None
