"""Helpers with which the passes add nodes and constants to a graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.decoder.roles import take_over_role


def constant(graph: ir.Graph, name: str, value: Any) -> ir.Value:
    """The initializer `name` with `value` (Python ints become int64, floats float32); made if not there yet."""
    array = np.asarray(value)
    return initializer(graph, name, array.astype({"f": np.float32, "i": np.int64}[array.dtype.kind]))


def initializer(graph: ir.Graph, name: str, array: npt.NDArray[Any] | np.generic) -> ir.Value:
    """The initializer `name` with an array in its own type; made if not there yet."""
    if name in graph.initializers:
        return graph.initializers[name]
    array = np.asarray(array)
    made = ir.Value(
        name=name, const_value=ir.tensor(array, name=name), type=ir.TensorType(ir.DataType.from_numpy(array.dtype))
    )
    made.shape = ir.Shape(array.shape)
    graph.register_initializer(made)
    return made


def op(
    graph: ir.Graph,
    op_type: str,
    *inputs: ir.Value | None,
    name: str | None = None,
    domain: str = "",
    **attributes: Any,
) -> ir.Value:
    """Appends a node with one output, called `name`; the caller sorts the graph when it is done."""
    node = ir.node(op_type, inputs, attributes, name=name, domain=domain)
    if name:
        node.outputs[0].name = name
    graph.append(node)
    return node.outputs[0]


def replace(
    graph: ir.Graph,
    old: dict[ir.Value, int],
    op_type: str,
    inputs: list[ir.Value | None],
    *,
    domain: str = "",
    num_outputs: int = 1,
    **attributes: Any,
) -> Sequence[ir.Value]:
    """Appends a node whose outputs take the place of `old` values (by index), under their names; sort afterwards."""
    node = ir.node(op_type, inputs, attributes, domain=domain, num_outputs=num_outputs)
    if domain:
        graph.opset_imports[domain] = 1
    graph.append(node)
    for value, index in old.items():
        new = node.outputs[index]
        new.shape, new.type, new.name, value.name = value.shape, value.type, value.name, None
        ir.convenience.replace_all_uses_with(value, new)
    return node.outputs


def substitute(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """Puts `value` in the place of a node's only output, under its name and role; sort afterwards."""
    old = node.outputs[0]
    value.type, value.shape = old.type, old.shape
    ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    maker = value.producer()
    if maker is not None:
        take_over_role(maker, node)
    graph.remove(node, safe=True)
    value.name, old.name = old.name, None
