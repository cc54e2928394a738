"""Makes of a decoder whose nodes are fused what the passes know: sums apart from norms."""

from typing import Final

import onnx_ir as ir

from lager_onnx.export.sources.source import Array
from lager_onnx.export.weights import numpy_of, shape_of
from lager_onnx.models.errors import CheckpointError

_ATTENTION: Final = "GroupQueryAttention"
_SUM_AND_NORM: Final = "SkipSimplifiedLayerNormalization"
_SUM: Final = 3  # the index of its output that is the sum
_INPUTS: Final = 9  # of an attention: queries, keys, values, past keys and values, two lengths, cosines, sines


def check_fused(graph: ir.Graph, positions: int) -> None:
    """Refuses fused attention of a kind that is not read, and tables of fewer positions than the configuration says.

    Raises:
        CheckpointError: says what it is.
    """
    for node in graph:
        if node.op_type != _ATTENTION:
            continue
        more = [value.name for value in node.inputs[_INPUTS:] if value is not None]
        interleaved = node.attributes.get("rotary_interleaved")
        if more or (interleaved is not None and interleaved.as_int()):
            what = f"reads {', '.join(map(str, more))}" if more else "turns pairs of neighbours"
            raise CheckpointError(f"{node.name} {what}: such attention is not read")
        for table in node.inputs[_INPUTS - 2 : _INPUTS]:
            rows = shape_of(table)[0] if table is not None else positions
            if rows < positions:
                raise CheckpointError(f"{node.name} knows {rows} positions, config.json says {positions}")


def fused_tables(graph: ir.Graph, positions: int) -> dict[str, tuple[Array, Array]]:
    """Return the cosines and sines that attention nodes read, by kind of layer; nothing where none is fused.

    Layers with a window read the local ones, where there are two kinds.
    """
    found: dict[str, tuple[Array, Array]] = {}
    seen: dict[tuple[str | None, ...], str] = {}
    for node in graph:
        if node.op_type != _ATTENTION or len(node.inputs) < _INPUTS:
            continue
        pair = node.inputs[_INPUTS - 2 : _INPUTS]
        if any(value is None for value in pair):
            continue
        names = tuple(value.name for value in pair if value is not None)
        window = node.attributes.get("local_window_size")
        local = window is not None and window.as_int() > 0
        if names not in seen:
            seen[names] = "local" if local else "global"
            cos, sin = (numpy_of(value)[:positions].astype("float32") for value in pair)
            found[seen[names]] = cos, sin
        elif not local and seen[names] == "local":  # one kind for all layers, the first of which has a window
            seen[names] = "global"
            found["global"] = found.pop("local")
    if list(found) == ["local"]:  # all layers have a window
        found = {"global": found["local"]}
    return found


def name_sums(graph: ir.Graph) -> None:
    """Gives every sum inside a norm a name, under which it can be looked at."""
    for node in graph:
        if node.op_type == _SUM_AND_NORM:
            if len(node.outputs) <= _SUM:
                node.resize_outputs(_SUM + 1)
            if not node.outputs[_SUM].name:
                node.outputs[_SUM].name = f"{node.outputs[0].name}.sum"


def split_norms(graph: ir.Graph) -> None:
    """Takes sums out of norms.

    before: stream, branch ─ SkipSimplifiedLayerNormalization(weight) ┬ sum
                                                                      └ normed
    after:  stream, branch ─ Add ─ sum ─ SimplifiedLayerNormalization(weight) ─ normed
    """
    name_sums(graph)
    for node in list(graph):
        if node.op_type != _SUM_AND_NORM:
            continue
        stream, branch, weight, *bias = node.inputs
        if any(value is not None for value in bias):
            raise CheckpointError(f"{node.name} adds a bias: such norms are not read")
        add = ir.node("Add", [stream, branch])
        norm = ir.node(
            "SimplifiedLayerNormalization",
            [add.outputs[0], weight],
            {"axis": -1, "epsilon": node.attributes["epsilon"].as_float(), "stash_type": 1},
        )
        graph.insert_before(node, [add, norm])
        for old, new in ((node.outputs[_SUM], add.outputs[0]), (node.outputs[0], norm.outputs[0])):
            new.shape, new.type = old.shape, old.type
            ir.convenience.replace_all_uses_with(old, new)
            new.name, old.name = old.name, None
        graph.remove(node, safe=True)
