"""Writes a judge folder: all of it or nothing."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
from transformers import PretrainedConfig

from lager_onnx.export.model_card import model_card
from lager_onnx.models.errors import OutputError
from lager_onnx.models.spec import GRAPH_FILE, SPEC_FILE, TOKENIZER_FILE, WEIGHTS_FILE, JudgeSpec

# Tensors below stay inside model.onnx: norms, scalars, and lager.layer_weights, which tuning replaces.
_EXTERNAL_FROM_BYTES = 16 * 1024


@contextmanager
def new_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder beside `target` to write into, which becomes `target` when the block ends well.

    Raises:
        OutputError: there is something at `target` already and it may not be replaced.
    """
    if target.exists() and not overwrite and (target.is_file() or any(target.iterdir())):
        raise OutputError(f"{target} exists already: give another folder, or --overwrite to replace it")
    if (
        target.exists()
        and overwrite
        and not (target / SPEC_FILE).exists()
        and (target.is_file() or any(target.iterdir()))
    ):
        raise OutputError(f"{target} is no judge folder, so --overwrite does not replace it: give another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        folder = Path(scratch) / "judge"
        folder.mkdir()
        yield folder
        if target.exists():
            target.rename(Path(scratch) / "replaced")
        folder.rename(target)


def write_graph(model: ir.Model, folder: Path) -> None:
    """Writes `model.onnx` and, with all large weights, `model.onnx_data`."""
    ir.save(model, folder / GRAPH_FILE, external_data=WEIGHTS_FILE, size_threshold_bytes=_EXTERNAL_FROM_BYTES)


def write_rest(folder: Path, spec: JudgeSpec, tokenizer_json: str, config: PretrainedConfig) -> JudgeSpec:
    """Writes tokeniser, configuration, model card and, last, `judge.json` with the checksums of the others."""
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")
    (folder / "config.json").write_text(config.to_json_string(use_diff=False), encoding="utf-8")
    (folder / "README.md").write_text(model_card(spec), encoding="utf-8")
    names = (GRAPH_FILE, WEIGHTS_FILE, TOKENIZER_FILE)
    spec = replace(spec, checksums={name: checksum(folder / name) for name in names if (folder / name).exists()})
    (folder / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
    return spec


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of the packages that make a judge."""
    names = ("lager-onnx", "torch", "transformers", "optimum", "optimum-onnx", "onnx-ir", "onnxruntime")
    return {name: version(name) for name in names}


def folder_size(folder: Path) -> int:
    """Bytes of all files of a judge folder."""
    return sum(file.stat().st_size for file in folder.iterdir())
