"""Runs a judge's graph layer by layer over many prompts: one layer's weights are in memory at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
from tqdm import tqdm

from lager_onnx.export.weights import Weight
from lager_onnx.models.graph import ATTENTION_MASK, INPUT_IDS, OUTPUTS
from lager_onnx.models.precisions import Precision
from lager_onnx.runtime.exact_products import make_products_exact
from lager_onnx.runtime.session import session_options

Array = npt.NDArray[Any]
See = Callable[[int, dict[str, Array]], None]

# What a layer is cut behind; where no attention is fused, its softmax.
_ATTENTIONS: Final = ("GroupQueryAttention", "Softmax")
_LOOKED_UP: Final = 64 << 20  # bytes of an embedding that are made at once
_PACKED: Final = ("fp16", "bf16", "int8", "int4")  # whose products are slower with weights as they lie in the file
_SMALL: Final = 16 * 1024  # bytes; such constants stay in the graph, where shapes are computed from them


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
        prompts: token ids.
        precision: of the graph as it is.
    """

    def __init__(self, model: ir.Model, prompts: Sequence[list[int]], *, precision: Precision = "fp32"):
        self._model, self._precision = model, precision
        self.prompts = range(len(prompts))
        layers = _layers(model.graph)
        self.layers = [Layer(nodes, self, number) for number, nodes in enumerate(layers)]
        ids = [np.asarray([prompt], dtype=np.int64) for prompt in prompts]
        self._carried: list[dict[str, Array]] = [{INPUT_IDS: each, ATTENTION_MASK: np.ones_like(each)} for each in ids]
        self._last_read = {name: len(layers) for name in OUTPUTS}
        for number, nodes in enumerate(layers):
            for value in (value for node in nodes for value in node.inputs if value is not None):
                if value.const_value is None and value.name not in OUTPUTS:
                    self._last_read[value.name or ""] = number

    def __iter__(self) -> Iterator[Layer]:
        """The layers in their order, each of which must be run with every prompt."""
        yield from self.layers

    def run_all(self, what: str) -> dict[str, Array]:
        """Takes all prompts through all layers, under a progress bar; see `outputs`."""
        for layer in tqdm(self.layers, desc=f"    {what}", unit=" layers", disable=None, leave=False):
            layer.run(self.prompts)
        return self.outputs(self.prompts)

    def outputs(self, prompts: range) -> dict[str, Array]:
        """What the graph says of some prompts, by output, (prompts, ...); there once all layers have run."""
        return {name: np.concatenate([self._carried[index][name] for index in prompts]) for name in OUTPUTS}

    def run_layer(
        self, number: int, nodes: list[ir.Node], prompts: range, names: Sequence[str], see: See | None
    ) -> None:
        """See `Layer.run`."""
        nodes = [node for node in nodes if not self._looked_up(node, prompts)]
        made = {value.name for node in nodes for value in node.outputs if value.name}
        onward = [name for name in made if name is not None and self._last_read.get(name, -1) > number]
        fetched = list(dict.fromkeys([*onward, *names]))
        with self._opened(nodes, made, fetched, self._carried[prompts[0]]) as (session, reads):
            for index in prompts:
                carried = self._carried[index]
                found = dict(zip(fetched, session.run(fetched, {name: carried[name] for name in reads}), strict=True))
                if see is not None:
                    see(index, {name: found[name] for name in names})
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
        step = max(1, _LOOKED_UP * total // data.nbytes)
        for first in range(0, total, step):
            here = [(each >= first) & (each < first + step) for each in ids]
            if any(mask.any() for mask in here):
                rows = data.rows(first, min(first + step, total))
                for array, each, mask in zip(found, ids, here, strict=True):
                    array[mask] = rows[each[mask] - first]
        for index, array in zip(prompts, found, strict=True):
            self._carried[index][str(node.outputs[0].name)] = array
        return True

    @contextmanager
    def _opened(
        self, nodes: list[ir.Node], made: set[str], fetched: list[str], carried: dict[str, Array]
    ) -> Iterator[tuple[onnxruntime.InferenceSession, list[str]]]:
        """A session of some nodes, and the names of what it must be fed; with its weights in memory for so long."""
        values = {value.name: value for node in nodes for value in node.inputs if value is not None}
        outputs = {value.name: value for node in nodes for value in node.outputs}
        reads = [value for name, value in values.items() if value.const_value is None and name not in made]
        constants = [value for value in values.values() if value.const_value is not None]
        graph = ir.GraphView(
            reads, [outputs[name] for name in fetched], nodes=nodes, initializers=constants, name="layer",
            opset_imports=self._model.graph.opset_imports,
        ).clone()  # fmt: skip
        for value in graph.inputs:
            value.type = ir.TensorType(ir.DataType.from_numpy(carried[str(value.name)].dtype))
        weights = _take_out(graph)
        given = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, int(dtype))
            for name, (array, dtype) in weights.items()
        }
        options = session_options(None, pack=self._precision in _PACKED)
        options.enable_cpu_mem_arena = False  # what is carried on would keep all of the arena
        if self._precision == "int8":
            make_products_exact(options)
        options.add_external_initializers(list(given), list(given.values()))
        model = ir.serde.serialize_model(ir.Model(graph, ir_version=self._model.ir_version))
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        yield session, [str(value.name) for value in reads]
        del session, given, weights


def _take_out(graph: ir.Graph) -> dict[str, tuple[Array, ir.DataType]]:
    """Large constants by name, each of which the graph then only promises."""
    found = {}
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is None or (tensor.nbytes <= _SMALL and not isinstance(tensor, ir.ExternalTensor)):
            continue
        array = np.ascontiguousarray(tensor.numpy())
        # onnxruntime's binding knows no bfloat16 of numpy's.
        found[name] = array.view(np.uint16) if tensor.dtype == ir.DataType.BFLOAT16 else array, tensor.dtype
        value.const_value = ir.ExternalTensor(
            "given", 0, array.nbytes, tensor.dtype, shape=ir.Shape(array.shape), name=name, base_dir=""
        )
    return found


def _layers(graph: ir.Graph) -> list[list[ir.Node]]:
    """Nodes by how many attentions lie before them: one list a layer, and one before the first.

    A node stands in the first list in which all that it reads is there. So what is gathered from the residual stream is
    gathered at once, and no more than one layer's hidden states are carried on. What is computed from constants alone,
    such as a weight that is widened, stands in every list that reads it.
    """
    kinds = {node.op_type for node in graph}
    attention = next((kind for kind in _ATTENTIONS if kind in kinds), None)
    depth: dict[ir.Value, int] = {}
    found: list[list[ir.Node]] = []
    for node in graph:  # sorted
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


def _add_fixed(nodes: list[ir.Node], fixed: list[ir.Node]) -> None:
    """Adds nodes that read constants alone, and those that they read, unless they are there."""
    for node in fixed:
        if node not in nodes:
            makers = [value.producer() for value in node.inputs if value is not None]
            _add_fixed(nodes, [maker for maker in makers if maker is not None])
            nodes.append(node)
