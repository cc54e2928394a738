"""Runs a judge's graph layer by layer over many prompts: one layer's weights are in memory at a time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from tqdm import tqdm

from lager_onnx.export.calibrate.layer_session import LayerSession
from lager_onnx.export.weights import ROWS_AT_ONCE, Weight
from lager_onnx.models.graph import ATTENTION_MASK, INPUT_IDS, OUTPUTS
from lager_onnx.models.precisions import Precision

Array = npt.NDArray[Any]
_POSITIONS: Final = "position_ids"
Prompt = list[int] | Mapping[str, Array]
See = Callable[[int, dict[str, Array]], None]

# What a layer is cut behind; where no attention is fused, its softmax.
_ATTENTIONS: Final = ("GroupQueryAttention", "Softmax")


class Layer:
    """The nodes from one attention to the next: output projection, MLP, and the projections of the next attention.

    Attributes:
        nodes: in their order; whoever adds nodes to the graph that belong here adds them here too.
    """

    def __init__(self, nodes: list[ir.Node], sweep: "Sweep", number: int):
        self.nodes, self._sweep, self._number = nodes, sweep, number

    def run(self, prompts: range, names: Sequence[str] = (), see: See | None = None) -> None:
        """Takes some of the prompts through this layer.

        Args:
            prompts: their indices.
            names: of values to look at.
            see: is given a prompt's index and those values by name.
        """
        self._sweep.run_layer(self._number, self.nodes, prompts, names, see)


class Sweep:
    """One pass of many prompts, each alone, through the layers of a judge's graph.

    What a later layer reads is carried on, for every prompt; all else is forgotten. So memory holds hidden states and
    one layer's weights, whatever the number of layers.

    Args:
        model: a judge's graph; its weights may be expressions, or lie in a file.
        prompts: token ids; or what the graph reads, by name, where it reads packed batches.
        precision: of the graph as it is.
        outputs: names of the graph's that are wanted.
        inputs: what else the graph reads, by name.

    Attributes:
        prompts: their indices.
        layers: in their order; each must be run with every prompt.
    """

    def __init__(
        self,
        model: ir.Model,
        prompts: Sequence[Prompt],
        *,
        precision: Precision = "fp32",
        outputs: Sequence[str] = OUTPUTS,
        inputs: Mapping[str, Array] | None = None,
    ):
        self._model, self._precision, self._outputs = model, precision, tuple(outputs)
        self.prompts = range(len(prompts))
        layers = _layers(model.graph, self._outputs)
        self.layers = [Layer(nodes, self, number) for number, nodes in enumerate(layers)]
        self._carried = [_fed(prompt) | dict(inputs or {}) for prompt in prompts]
        self._last_read = {name: len(layers) for name in self._outputs}
        for number, nodes in enumerate(layers):
            for value in (value for node in nodes for value in node.inputs if value is not None):
                if value.const_value is None and value.name not in self._outputs:
                    self._last_read[value.name or ""] = number

    def run_all(self, what: str) -> dict[str, Array]:
        """Takes all prompts through all layers, under a progress bar; see `outputs`."""
        for layer in tqdm(self.layers, desc=f"    {what}", unit=" layers", disable=None, leave=False):
            layer.run(self.prompts)
        return self.outputs(self.prompts)

    def outputs(self, prompts: range) -> dict[str, Array]:
        """What the graph says of some prompts, by output, (prompts, ...); there once all layers have run."""
        return {name: np.concatenate([self.output(name, index) for index in prompts]) for name in self._outputs}

    def output(self, name: str, prompt: int) -> Array:
        """One of the graph's outputs for one prompt; there once all layers have run."""
        return self._carried[prompt][name]

    def run_layer(
        self, number: int, nodes: list[ir.Node], prompts: range, names: Sequence[str], see: See | None
    ) -> None:
        """See `Layer.run`."""
        nodes = [node for node in nodes if not self._looked_up(node, prompts)]
        made = [str(value.name) for node in nodes for value in node.outputs if value.name]
        onward = [name for name in made if self._last_read.get(name, -1) > number]
        fetched = list(dict.fromkeys([*onward, *(name for name in names if name in made)]))
        session = LayerSession(self._model, nodes, fetched, self._carried[prompts[0]], self._precision)
        for index in prompts:
            carried = self._carried[index]
            found = session.run(carried)
            if see is not None:
                seen = carried | found  # an embedding that was looked up is carried already
                see(index, {name: seen[name] for name in names})
            carried |= {name: found[name] for name in onward}
            for name in [name for name in carried if self._last_read.get(name, -1) <= number]:
                del carried[name]

    def _looked_up(self, node: ir.Node, prompts: range) -> bool:
        """Looks up an embedding that is an expression, block by block; False for any other node."""
        data = node.inputs[0].const_value if node.op_type == "Gather" and node.inputs[0] is not None else None
        indices = node.inputs[1] if isinstance(data, Weight) and data.apart else None
        if not isinstance(data, Weight) or indices is None or indices.name != INPUT_IDS:
            return False
        ids = [self._carried[index][INPUT_IDS] for index in prompts]
        found = [np.empty((*each.shape, *data.shape.numpy()[1:]), data.dtype.numpy()) for each in ids]
        total = int(data.shape.numpy()[0])
        for first in range(0, total, ROWS_AT_ONCE):
            here = [(each >= first) & (each < first + ROWS_AT_ONCE) for each in ids]
            if any(mask.any() for mask in here):
                rows = data.rows(first, min(first + ROWS_AT_ONCE, total))
                for array, each, mask in zip(found, ids, here, strict=True):
                    array[mask] = rows[each[mask] - first]
        for index, array in zip(prompts, found, strict=True):
            self._carried[index][str(node.outputs[0].name)] = array
        return True


def _fed(prompt: Prompt) -> dict[str, Array]:
    if isinstance(prompt, Mapping):
        return dict(prompt)
    ids = np.asarray([prompt], dtype=np.int64)
    positions = np.arange(len(prompt), dtype=np.int64)[None]
    return {INPUT_IDS: ids, ATTENTION_MASK: np.ones_like(ids), _POSITIONS: positions}


def _layers(graph: ir.Graph, outputs: Sequence[str]) -> list[list[ir.Node]]:
    """Nodes by how many attentions lie before them: one list a layer, and one before the first.

    A node stands in the first list in which all that it reads is there. So what is gathered from the residual stream is
    gathered at once, and no more than one layer's hidden states are carried on. What is computed from constants alone,
    such as a weight that is widened, stands in every list that reads it. What leads to no wanted output is left out.
    """
    needed = _needed(graph, outputs)
    kinds = {node.op_type for node in graph}
    attention = next((kind for kind in _ATTENTIONS if kind in kinds), None)
    depth: dict[ir.Value, int] = {}
    found: list[list[ir.Node]] = []
    for node in (node for node in graph if node in needed):  # sorted
        computed = [value for value in node.inputs if value is not None and value.const_value is None]
        fixed = [value.producer() for value in computed if value.producer() is not None and value not in depth]
        if len(fixed) == len(computed):
            continue
        at = max(depth.get(value, 0) for value in computed) + (node.op_type == attention)
        depth |= dict.fromkeys(node.outputs, at)
        found += [[] for _ in range(at + 1 - len(found))]
        _add_fixed(found[at], [each for each in fixed if each is not None])
        found[at].append(node)
    return found


def _needed(graph: ir.Graph, outputs: Sequence[str]) -> set[ir.Node]:
    """The nodes that some outputs are computed by."""
    found: set[ir.Node] = set()
    waiting = [value for node in graph for value in node.outputs if value.name in outputs]
    while waiting:
        node = waiting.pop().producer()
        if node is not None and node not in found:
            found.add(node)
            waiting += [value for value in node.inputs if value is not None]
    return found


def _add_fixed(nodes: list[ir.Node], fixed: list[ir.Node]) -> None:
    """Adds nodes that read constants alone, and those that they read, unless they are there."""
    for node in fixed:
        if node not in nodes:
            makers = [value.producer() for value in node.inputs if value is not None]
            _add_fixed(nodes, [maker for maker in makers if maker is not None])
            nodes.append(node)
