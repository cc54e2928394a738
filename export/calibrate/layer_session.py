"""Opens some nodes of a graph as a session of their own, with the weights that they read."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime

from lager_onnx.export.weights import array_of
from lager_onnx.models.precisions import Precision
from lager_onnx.runtime.exact_products import make_products_exact
from lager_onnx.runtime.session import session_options

Array = npt.NDArray[Any]

# Whose products are much slower with weights as they lie in the file.
_PACKED: Final = ("fp16", "bf16", "int8", "int4")
_SMALL: Final = 16 * 1024  # bytes; such constants stay in the graph, where shapes are computed from them


class LayerSession:
    """Nodes of a graph, and their weights for as long as this object lives.

    Weights in float32 are fed as inputs, which copies nothing. Those in fewer bits become initializers, which
    onnxruntime copies and packs.

    Args:
        model: the graph that they are of.
        nodes: in their order.
        outputs: names of what they shall give.
        example: what they read of the other nodes of the graph, by name; only the types matter.
        precision: of the graph as it is.
    """

    def __init__(
        self,
        model: ir.Model,
        nodes: Sequence[ir.Node],
        outputs: Sequence[str],
        example: Mapping[str, Array],
        precision: Precision,
    ):
        self._outputs = list(outputs)
        values = {str(value.name): value for node in nodes for value in node.inputs if value is not None}
        made = {str(value.name): value for node in nodes for value in node.outputs}
        self.reads = [name for name, value in values.items() if value.const_value is None and name not in made]
        graph = ir.GraphView(
            [values[name] for name in self.reads],
            [made[name] for name in outputs],
            nodes=nodes,
            initializers=[value for value in values.values() if value.const_value is not None],
            name="layer",
            opset_imports=model.graph.opset_imports,
        ).clone()
        for value in graph.inputs:
            value.type = ir.TensorType(ir.DataType.from_numpy(example[str(value.name)].dtype))
        self._options = session_options(None, weights="packed" if precision in _PACKED else "mapped")
        self._options.enable_cpu_mem_arena = False  # what is carried on would keep all of the arena
        if precision == "int8":
            make_products_exact(self._options)
        self._fed: dict[str, Array] = {}
        self._given: list[onnxruntime.OrtValue] = []
        self._take_out(graph, feed=precision not in _PACKED)
        proto = ir.serde.serialize_model(ir.Model(graph, ir_version=model.ir_version))
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(proto.SerializeToString(), self._options, providers=providers)

    def run(self, carried: Mapping[str, Array]) -> dict[str, Array]:
        """What the nodes give, by name, of what the other nodes gave."""
        read = {name: carried[name] for name in self.reads}
        return dict(zip(self._outputs, self._session.run(self._outputs, read | self._fed), strict=True))

    def _take_out(self, graph: ir.Graph, *, feed: bool) -> None:
        """Takes large constants out of the graph: they are fed, or given to onnxruntime as initializers."""
        names = []
        for name, value in list(graph.initializers.items()):
            tensor = value.const_value
            if tensor is None or (tensor.nbytes <= _SMALL and not isinstance(tensor, ir.ExternalTensor)):
                continue
            array = np.ascontiguousarray(array_of(tensor))
            if feed:
                self._fed[name] = array
                graph.initializers.pop(name)
                value.const_value, value.type = None, ir.TensorType(tensor.dtype)
                graph.inputs.append(value)
                continue
            value.const_value = ir.ExternalTensor(
                "given", 0, array.nbytes, tensor.dtype, shape=ir.Shape(array.shape), name=name, base_dir=""
            )
            # onnxruntime's binding knows no bfloat16 of numpy's.
            bits = array.view(np.uint16) if tensor.dtype == ir.DataType.BFLOAT16 else array
            names.append(name)
            self._given.append(onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, int(tensor.dtype)))
        self._options.add_external_initializers(names, self._given)
