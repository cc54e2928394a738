"""How fast this machine multiplies matrices: what no judge can exceed."""

import time
from statistics import median

import numpy as np
import onnx_ir as ir
import onnxruntime

ROWS, INPUTS, OUTPUTS = 512, 576, 3072  # the widest product of SmolLM2-135M


def ceilings(threads: int) -> dict[str, float]:
    """Multiply-adds a second, in thousand millions, by precision."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((INPUTS, OUTPUTS)).astype(np.float32)
    eight = random.integers(-127, 128, (INPUTS, OUTPUTS)).astype(np.int8)
    rows = random.standard_normal((ROWS, INPUTS)).astype(np.float32)
    return {
        "fp32": _rate("MatMul", rows, [weight], threads),
        "int8": _rate("MatMulInteger", rows.astype(np.uint8), [eight, np.uint8(128)], threads),
    }


def _rate(op_type: str, rows: np.ndarray, constants: list[np.ndarray], threads: int) -> float:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.from_numpy(rows.dtype)), shape=ir.Shape(rows.shape))
    values = [
        ir.Value(name=f"c{number}", const_value=ir.tensor(array, name=f"c{number}"))
        for number, array in enumerate(constants)
    ]
    node = ir.node(op_type, [x, *values])
    out = ir.DataType.INT32 if op_type == "MatMulInteger" else ir.DataType.FLOAT
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(out)
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=values, opset_imports={"": 18}, name="product")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = ir.serde.serialize_model(ir.Model(graph, ir_version=9)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    seconds = []
    for _ in range(60):
        start = time.perf_counter()
        session.run(None, {"x": rows})
        seconds.append(time.perf_counter() - start)
    return ROWS * INPUTS * OUTPUTS / median(seconds[10:]) / 1e9
