"""Writes the files of a judge folder."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
from transformers import PretrainedConfig

from lager_onnx.models.model_card import model_card
from lager_onnx.models.spec import CARD_FILE, GRAPH_FILE, SPEC_FILE, TOKENIZER_FILE, WEIGHTS_FILE, JudgeSpec
from lager_onnx.runtime.folder import checksum

# Tensors below stay inside model.onnx: norms, scalars, and lager.layer_weights, which tuning replaces.
_EXTERNAL_FROM_BYTES = 16 * 1024


def write_graph(model: ir.Model, folder: Path) -> None:
    """Writes `model.onnx` and, with all large weights, `model.onnx_data`."""
    folder.mkdir(exist_ok=True)
    ir.save(model, folder / GRAPH_FILE, external_data=WEIGHTS_FILE, size_threshold_bytes=_EXTERNAL_FROM_BYTES)


def write_rest(folder: Path, spec: JudgeSpec, tokenizer_json: str, config: PretrainedConfig) -> JudgeSpec:
    """Writes tokeniser, configuration, model card and, last, `judge.json` with the checksums of the others."""
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")
    (folder / "config.json").write_text(config.to_json_string(use_diff=False), encoding="utf-8")
    (folder / CARD_FILE).write_text(model_card(spec), encoding="utf-8")
    names = (GRAPH_FILE, WEIGHTS_FILE, TOKENIZER_FILE)
    spec = replace(spec, checksums={name: checksum(folder / name) for name in names if (folder / name).exists()})
    (folder / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
    return spec


def package_versions() -> dict[str, str]:
    """Versions of the packages that make a judge."""
    names = ("lager-onnx", "torch", "transformers", "optimum", "optimum-onnx", "onnx-ir", "onnxruntime")
    return {name: version(name) for name in names}


def folder_size(folder: Path) -> int:
    """Bytes of all files of a judge folder."""
    return sum(file.stat().st_size for file in folder.iterdir())
