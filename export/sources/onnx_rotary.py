"""Rotary embeddings as tables, computed by the graph's own nodes."""

from typing import Final

import numpy as np
import onnx_ir as ir

from lager_onnx.export.calibrate.layer_session import LayerSession
from lager_onnx.export.sources.source import Array
from lager_onnx.models.errors import ExportError

_KINDS: Final = ("global", "local")
_POSITIONS: Final = "position_ids"


def rotary_tables(model: ir.Model, positions: int) -> dict[str, tuple[Array, Array]]:
    """See `Source.rotary_tables`: what the graph computes of the positions 0, 1, 2, ..., scalings included.

    Raises:
        ExportError: the graph has not one pair of tables, or two.
    """
    found: dict[str, list[ir.Value]] = {kind: [] for kind in ("Cos", "Sin")}
    for node in model.graph:
        if node.op_type in found:
            found[node.op_type].append(_scaled(node.outputs[0]))
    if len(found["Cos"]) != len(found["Sin"]) or len(found["Cos"]) > len(_KINDS):
        raise ExportError(f"the graph computes {len(found['Cos'])} cosines and {len(found['Sin'])} sines of positions")
    tables = {}
    for kind, cosines, sines in zip(_KINDS, found["Cos"], found["Sin"], strict=False):
        cos, sin = (_run(model, value, positions) for value in (cosines, sines))
        half = cos.shape[-1] // 2
        tables[kind] = cos[0, :, :half].copy(), sin[0, :, :half].copy()
    return tables


def _scaled(value: ir.Value) -> ir.Value:
    """A table behind its scaling, where it is cast or multiplied by a number before it is used."""
    while True:
        users = {use.node for use in value.uses()}
        if len(users) != 1:
            return value
        (user,) = users
        scalar = all(each is value or (each is not None and each.const_value is not None) for each in user.inputs)
        if user.op_type not in ("Cast", "Mul") or not scalar:
            return value
        value = user.outputs[0]


def _run(model: ir.Model, value: ir.Value, positions: int) -> Array:
    wanted: set[ir.Node] = set()
    waiting = [value.producer()]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in wanted:
            wanted.add(node)
            waiting += [each.producer() for each in node.inputs if each is not None]
    nodes = [node for node in model.graph if node in wanted]
    ids = np.arange(positions, dtype=np.int64)[None]
    fed = {_POSITIONS: ids, "input_ids": np.zeros_like(ids), "attention_mask": np.ones_like(ids)}
    session = LayerSession(model, nodes, [str(value.name)], fed, "fp32")
    return session.run(fed)[str(value.name)].astype(np.float32)
