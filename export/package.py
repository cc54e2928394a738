"""Writes the files of a judge folder."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
from transformers import PretrainedConfig

from lager_onnx.models.model_card import model_card
from lager_onnx.models.spec import (
    CARD_FILE,
    CHECKED_FILES,
    GRAPH_FILE,
    SPEC_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    JudgeSpec,
)
from lager_onnx.runtime.folder import checksum
from lager_onnx.runtime.graph_file import edit_graph

# Tensors below stay inside model.onnx: norms, scalars, and lager.layer_weights, which tuning replaces.
_EXTERNAL_FROM_BYTES = 16 * 1024


def write_graph(model: ir.Model, folder: Path) -> None:
    """Writes `model.onnx` and, with all large weights, `model.onnx_data`."""
    folder.mkdir(exist_ok=True)
    ir.save(model, folder / GRAPH_FILE, external_data=WEIGHTS_FILE, size_threshold_bytes=_EXTERNAL_FROM_BYTES)


def write_rest(folder: Path, spec: JudgeSpec, tokenizer_json: str, config: PretrainedConfig) -> JudgeSpec:
    """Writes tokeniser, configuration, card, the graph's metadata and, last, `judge.json` with their checksums."""
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")
    (folder / "config.json").write_text(config.to_json_string(use_diff=False), encoding="utf-8")
    (folder / CARD_FILE).write_text(model_card(spec), encoding="utf-8")
    edit_graph(folder / GRAPH_FILE, folder / GRAPH_FILE, spec)
    found = {name: checksum(folder / name) for name in CHECKED_FILES if (folder / name).exists()}
    spec = replace(spec, checksums=found)
    (folder / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
    return spec


def package_versions() -> dict[str, str]:
    """Versions of the packages that make a judge."""
    names = ("lager-onnx", "torch", "transformers", "optimum", "optimum-onnx", "onnx-ir", "onnxruntime")
    return {name: version(name) for name in names}


def folder_size(folder: Path) -> int:
    """Bytes of all files of a judge folder."""
    return sum(file.stat().st_size for file in folder.iterdir())
