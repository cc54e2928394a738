"""Writes what describes a judge: the layer weights in its graph, what the graph says of itself, card, `judge.json`."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from lager_onnx.models.errors import JudgeFolderError
from lager_onnx.models.model_card import model_card
from lager_onnx.models.spec import CARD_FILE, CHECKED_FILES, GRAPH_FILE, GRAPH_KEY, SPEC_FILE, JudgeSpec
from lager_onnx.runtime.folder import checksum

LAYER_WEIGHTS: Final = "lager.layer_weights"


def write_spec(folder: Path, spec: JudgeSpec, *, known: Mapping[str, str] | None = None) -> JudgeSpec:
    """Completes a judge folder: the spec goes into the graph, the card and, last, `judge.json` with all checksums.

    Args:
        folder: with all other files in it.
        spec: of the judge; its checksums are made here.
        known: checksums of large files that need not be read again.

    Raises:
        JudgeFolderError: the graph holds no layer weights.
    """
    _edit_graph(folder / GRAPH_FILE, spec)
    (folder / CARD_FILE).write_text(model_card(spec), encoding="utf-8")
    known = {} if known is None else known
    files = [name for name in CHECKED_FILES if (folder / name).exists()]
    spec = replace(spec, checksums={name: known.get(name) or checksum(folder / name) for name in files})
    (folder / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
    return spec


def _edit_graph(path: Path, spec: JudgeSpec) -> None:
    """Gives a graph the spec's layer weights, and the spec as its metadata; large weights stay where they are.

    Raises:
        JudgeFolderError: the graph holds no layer weights.
    """
    model = onnx.load(path, load_external_data=False)
    held = next((tensor for tensor in model.graph.initializer if tensor.name == LAYER_WEIGHTS), None)
    if held is None or int(np.prod(held.dims)) != len(spec.layer_weights):
        raise JudgeFolderError(
            f"{path.name} holds no {LAYER_WEIGHTS} of {len(spec.layer_weights)}: export the judge again"
        )
    array = np.asarray(spec.layer_weights, dtype=np.float32).reshape(tuple(held.dims))
    held.CopyFrom(onnx.numpy_helper.from_array(array, LAYER_WEIGHTS))
    others = {entry.key: entry.value for entry in model.metadata_props if entry.key != GRAPH_KEY}
    onnx.helper.set_model_props(model, {**others, GRAPH_KEY: json.dumps(spec.for_graph(), sort_keys=True)})
    onnx.save(model, path)
