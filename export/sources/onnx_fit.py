"""Compares the numbers of config.json with those that an ONNX decoder shows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import onnx_ir as ir

from lager_onnx.export.sources.onnx_weights import PAST
from lager_onnx.models.errors import CheckpointError

_ATTENTION: Final = "GroupQueryAttention"
_PASSED_ON: Final = ("Cast", "Reshape", "Unsqueeze", "Identity")  # what may be done to ids before they are looked up
_KEYS: Final = ".key"


def check_types(config: Any, path: Path) -> None:
    """Refuse values of config.json that are not of the kind that they must be.

    Args:
        config: the decoder's configuration.
        path: config.json's, for messages.

    Raises:
        CheckpointError: names the value.
    """
    named = config.architectures
    if not isinstance(named, list) or not isinstance(named[0], str):
        raise CheckpointError(
            f"{path} says architectures = {named!r}: it must be a list of names, such as ['LlamaForCausalLM']"
        )
    check_kind(config.model_type, path)
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"):
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CheckpointError(f"{path} says {name} = {value!r}: it must be a positive whole number")


def check_kind(kind: Any, path: Path) -> None:
    """Refuse a `model_type` that is no text.

    Raises:
        CheckpointError: names it.
    """
    if kind is not None and not isinstance(kind, str):
        raise CheckpointError(f"{path} says model_type = {kind!r}: it must be a name, such as 'llama'")


def check_fit(graph: ir.Graph, config: Any, path: Path) -> None:
    """Refuse a graph that is not of the model that config.json describes, as far as its weights and inputs show it.

    Args:
        graph: the decoder, as it was given.
        config: its configuration.
        path: the ONNX file, for messages.

    Raises:
        CheckpointError: names the number, what config.json says of it, and what the graph has.
    """
    heads = getattr(config, "num_attention_heads", None)
    groups = getattr(config, "num_key_value_heads", None) or heads
    said = vars(config) | {"num_key_value_heads": groups}
    for name, found in (*_of_embedding(graph), *_of_past(graph), *_of_attention(graph)):
        if said.get(name) is not None and said[name] != found:
            raise CheckpointError(
                f"config.json says {name} = {said[name]!r}, but {path} has {found}: they are not of one model. Copy "
                "config.json from the checkpoint that the graph was exported from"
            )
    for table in _tables(graph, "position_ids"):
        rows = _size(table, 0)
        if rows is not None and rows < config.max_position_embeddings:
            raise CheckpointError(
                f"config.json says max_position_embeddings = {config.max_position_embeddings}, but {path} has a table "
                f"of {rows} positions ({table.name}): copy config.json from the checkpoint that the graph was exported "
                "from"
            )


def _of_embedding(graph: ir.Graph) -> Iterator[tuple[str, int]]:
    for table in _tables(graph, "input_ids"):
        for name, axis in (("vocab_size", 0), ("hidden_size", 1)):
            size = _size(table, axis)
            if size is not None:
                yield name, size


def _of_past(graph: ir.Graph) -> Iterator[tuple[str, int]]:
    """Of a KV cache's inputs: (batch, key-value heads, positions, size of a head)."""
    keys = [value for value in graph.inputs if str(value.name).startswith(PAST) and str(value.name).endswith(_KEYS)]
    if keys:
        yield "num_hidden_layers", len(keys)
    for value in keys:
        for name, axis in (("num_key_value_heads", 1), ("head_dim", 3)):
            size = _size(value, axis, rank=4)
            if size is not None:
                yield name, size


def _of_attention(graph: ir.Graph) -> Iterator[tuple[str, int]]:
    for node in graph:
        if node.op_type == _ATTENTION:
            for name, ours in (("num_heads", "num_attention_heads"), ("kv_num_heads", "num_key_value_heads")):
                if name in node.attributes:
                    yield ours, node.attributes[name].as_int()


def _tables(graph: ir.Graph, name: str) -> list[ir.Value]:
    """Return the matrices in which an input's numbers are looked up."""
    waiting = [value for value in graph.inputs if value.name == name]
    found = []
    while waiting:
        value = waiting.pop()
        for use in value.uses():
            node = use.node
            if node.op_type in _PASSED_ON and use.idx == 0:
                waiting += node.outputs
            elif node.op_type == "Gather" and use.idx == 1 and node.inputs[0] is not None:
                table = node.inputs[0]
                if "axis" not in node.attributes or node.attributes["axis"].as_int() == 0:
                    found.append(table)
    return found


def _size(value: ir.Value, axis: int, *, rank: int = 2) -> int | None:
    """Return the size of an axis; None where the graph does not say it, or the value is no table."""
    shape = value.const_value.shape if value.const_value is not None else value.shape
    if shape is None or len(shape) != rank:
        return None
    size = shape[axis]
    return size if isinstance(size, int) else None
