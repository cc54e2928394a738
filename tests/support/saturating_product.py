"""Makes runtime/saturating_product.onnx: `PYTHONPATH=tests python -m support.saturating_product`."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

FILE = Path(__file__).parents[2] / "runtime" / "saturating_product.onnx"
DEPTH, COLUMNS = 64, 16


def make() -> bytes:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.UINT8), shape=ir.Shape(["rows", DEPTH]))
    signs = np.where(np.arange(COLUMNS) % 2, -127, 127).astype(np.int8)
    tensors: dict[str, npt.NDArray[Any]] = {
        "w": np.tile(signs, (DEPTH, 1)),
        "x_scale": np.array(1, np.float32),
        "w_scale": np.ones(COLUMNS, np.float32),
        "x_zero": np.array(128, np.uint8),
    }
    made = [
        ir.Value(
            name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        )
        for name, array in tensors.items()
    ]  # fmt: skip
    node = ir.node("MatMulIntegerToFloat", [x, *made], domain="com.microsoft")
    y = node.outputs[0]
    y.name, y.type, y.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape(["rows", COLUMNS])
    graph = ir.Graph(
        [x], [y], nodes=[node], initializers=made, opset_imports={"": 18, "com.microsoft": 1}, name="product"
    )
    return ir.to_proto(ir.Model(graph, ir_version=8)).SerializeToString(deterministic=True)


if __name__ == "__main__":
    FILE.write_bytes(make())
