"""Proves that this machine multiplies 8-bit integers without saturation.

On x86 processors with AVX2 or AVX512, but without VNNI, onnxruntime's quickest products of unsigned and signed bytes
add pairs of them in 16 bits, and what does not fit is cut off (its issue 6004). `session.x64quantprecision` makes them
exact; should it ever not, a judge must not grade.
"""

from importlib.resources import files
from typing import Final

import numpy as np
import onnxruntime

from lager_onnx.models.errors import DeviceError

# y = MatMulIntegerToFloat(x, W): x (rows, 64) unsigned bytes with zero point 128; W (64, 16) signed bytes, a column all
# 127 or all -127; all scales 1. tests/support/saturating_product.py makes it.
_MODEL: Final = files("lager_onnx.runtime") / "saturating_product.onnx"
_DEPTH: Final = 64
_ZERO_POINT: Final = 128
_ROWS: Final = (1, 5)  # one row goes through another kernel than several
_EXTREMES: Final = (0, 255)


def prove_exact_products(options: onnxruntime.SessionOptions) -> None:
    """Multiplies the largest and smallest bytes there are, in a session with these options, on the CPU.

    Raises:
        DeviceError: a sum is not the exact one.
    """
    session = onnxruntime.InferenceSession(_MODEL.read_bytes(), options, providers=["CPUExecutionProvider"])
    for rows in _ROWS:
        for byte in _EXTREMES:
            x = np.full((rows, _DEPTH), byte, np.uint8)
            expected = (byte - _ZERO_POINT) * 127 * _DEPTH  # times the sign of the column
            (got,) = session.run(None, {"x": x})
            if not np.array_equal(np.abs(got), np.full(got.shape, abs(expected), np.float32)):
                raise DeviceError(
                    f"products in 8 bits are not exact on this processor: a sum of {abs(expected)} came out as "
                    f"{np.abs(got).min():.0f}. An int8 judge would grade wrongly here. Update onnxruntime "
                    f"(this is {onnxruntime.__version__}), or export the judge with --precision fp32, bf16 or int4"
                )
