"""What is changed in `model.onnx` once it is written: the layer weights, and what the graph says of itself."""

import json
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from lager_onnx.models.errors import JudgeFolderError
from lager_onnx.models.spec import GRAPH_KEY, JudgeSpec

LAYER_WEIGHTS: Final = "lager.layer_weights"


def edit_graph(source: Path, target: Path, spec: JudgeSpec) -> None:
    """Writes a graph with the spec's layer weights, and the spec as its metadata; large weights stay where they are.

    Raises:
        JudgeFolderError: the graph holds no layer weights.
    """
    model = onnx.load(source, load_external_data=False)
    held = next((tensor for tensor in model.graph.initializer if tensor.name == LAYER_WEIGHTS), None)
    if held is None or int(np.prod(held.dims)) != len(spec.layer_weights):
        raise JudgeFolderError(
            f"{source} holds no {LAYER_WEIGHTS} of {len(spec.layer_weights)}: export the judge again"
        )
    array = np.asarray(spec.layer_weights, dtype=np.float32).reshape(tuple(held.dims))
    held.CopyFrom(onnx.numpy_helper.from_array(array, LAYER_WEIGHTS))
    others = {entry.key: entry.value for entry in model.metadata_props if entry.key != GRAPH_KEY}
    onnx.helper.set_model_props(model, {**others, GRAPH_KEY: json.dumps(spec.for_graph(), sort_keys=True)})
    onnx.save(model, target)
