"""Two helpers with which the passes add nodes and constants to a graph."""

from typing import Any

import numpy as np
import onnx_ir as ir


def constant(graph: ir.Graph, name: str, value: Any) -> ir.Value:
    """The initializer `name` with `value` (Python ints become int64, floats float32); made if not there yet."""
    if name in graph.initializers:
        return graph.initializers[name]
    array = np.asarray(value)
    array = array.astype({"f": np.float32, "i": np.int64}[array.dtype.kind])
    made = ir.Value(
        name=name, const_value=ir.tensor(array, name=name), type=ir.TensorType(ir.DataType.from_numpy(array.dtype))
    )
    made.shape = ir.Shape(array.shape)
    graph.register_initializer(made)
    return made


def op(graph: ir.Graph, op_type: str, *inputs: ir.Value, name: str | None = None, **attributes: Any) -> ir.Value:
    """Appends a node with one output, called `name`; the caller sorts the graph when it is done."""
    node = ir.node(op_type, inputs, attributes, name=name)
    if name:
        node.outputs[0].name = name
    graph.append(node)
    return node.outputs[0]
