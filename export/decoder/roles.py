"""What the products of a decoder are: recorded once, when the graph is located, and asked for by role ever after.

A role stands in the node's metadata, which is written into the file. A pass that puts a node in the place of others
gives it their role.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

import onnx_ir as ir

Part = Literal["query", "key", "value", "qkv", "output", "gate", "up", "gate_up", "router", "down", "other"]

# The parts that read the residual stream, through a norm.
READERS: Final[tuple[Part, ...]] = ("query", "key", "value", "qkv", "gate", "up", "gate_up", "router")
_KEY: Final = "lager.role"


@dataclass(frozen=True)
class Role:
    """A product with a weight: the layer that it is of, 0 the first, and what it is there.

    "qkv" is one product for queries, keys and values, "gate_up" one for both branches of an MLP; "other" is what has
    no name here.
    """

    layer: int
    part: Part


def set_role(node: ir.Node, role: Role) -> None:
    """Records what a node is."""
    node.metadata_props[_KEY] = f"{role.layer}.{role.part}"


def role_of(node: ir.Node) -> Role | None:
    """What a node is; None where it is no product with a weight of a layer."""
    text = node.metadata_props.get(_KEY)
    if text is None:
        return None
    layer, _, part = text.partition(".")
    return Role(int(layer), cast(Part, part))


def take_over_role(node: ir.Node, old: ir.Node) -> None:
    """Gives a node the role of another, in whose place it stands."""
    role = role_of(old)
    if role is not None:
        set_role(node, role)


def projections(graph: ir.Graph, *parts: Part) -> list[ir.Node]:
    """The products with a weight of the layers, in the order of the graph: of some parts, or all."""
    return [node for node, role in _roles(graph) if role.part in (parts or get_args(Part))]


def _roles(graph: ir.Graph) -> Iterator[tuple[ir.Node, Role]]:
    for node in graph:
        role = role_of(node)
        if role is not None:
            yield node, role
