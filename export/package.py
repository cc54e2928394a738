"""Writes the files of a judge folder."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO, Final

import onnx_ir as ir
from tqdm import tqdm

from lager_onnx.export.weights import Weight
from lager_onnx.models.errors import ExportError
from lager_onnx.models.model_card import model_card
from lager_onnx.models.spec import (
    CARD_FILE,
    CHECKED_FILES,
    CONFIG_FILE,
    GRAPH_FILE,
    SPEC_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    JudgeSpec,
)
from lager_onnx.runtime.folder import checksum
from lager_onnx.runtime.graph_file import edit_graph

# Tensors below stay inside model.onnx: norms, scalars, and lager.layer_weights, which tuning replaces.
_EXTERNAL_FROM_BYTES: Final = 16 * 1024
_PAGE: Final = 4096  # where tensors begin, so that they can be mapped one by one


class WeightsFile:
    """`model.onnx_data`: tensors are written when they are known, and forgotten; the graph keeps where they lie.

    Args:
        folder: the judge's; made if it is not there.
    """

    def __init__(self, folder: Path):
        folder.mkdir(exist_ok=True)
        self._folder, self._file = folder, (folder / WEIGHTS_FILE).open("wb")

    def __enter__(self) -> "WeightsFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def store(self, value: ir.Value) -> None:
        """Writes an initializer, if it is a large one and not in the file yet; a small one stays in the graph."""
        tensor = value.const_value
        if tensor is None or (isinstance(tensor, ir.ExternalTensor) and Path(tensor.base_dir) == self._folder):
            return
        if tensor.nbytes < _EXTERNAL_FROM_BYTES:
            if isinstance(tensor, ir.ExternalTensor):  # in a file of the source's
                value.const_value = ir.tensor(tensor.numpy().copy(), name=value.name)
            return
        self._file.write(bytes(-self._file.tell() % _PAGE))
        start = self._file.tell()
        _write(tensor, self._file)
        self._file.flush()
        length = self._file.tell() - start
        if length != tensor.nbytes:
            raise ExportError(f"{value.name} was written in {length} bytes, not {tensor.nbytes}")
        value.const_value = ir.ExternalTensor(
            WEIGHTS_FILE,
            start,
            length,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=value.name or "",
            base_dir=self._folder,
        )

    def store_all(self, model: ir.Model) -> None:
        """Writes what of a graph is not in the file yet, under a progress bar, and then the graph."""
        values = list(model.graph.initializers.values())
        for value in tqdm(values, desc="    write", unit=" tensors", disable=None, leave=False):
            self.store(value)
        self._file.flush()
        ir.save(model, self._folder / GRAPH_FILE)


def _write(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    if isinstance(tensor, Weight):
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())


def write_graph(model: ir.Model, folder: Path) -> None:
    """Writes `model.onnx` and, with all large weights, `model.onnx_data`; the graph then reads them from there."""
    with WeightsFile(folder) as file:
        file.store_all(model)


def write_rest(folder: Path, spec: JudgeSpec, tokenizer_json: str, config_json: str) -> JudgeSpec:
    """Writes tokeniser, configuration, card, the graph's metadata and, last, `judge.json` with their checksums."""
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")
    (folder / CONFIG_FILE).write_text(config_json, encoding="utf-8")
    (folder / CARD_FILE).write_text(model_card(spec), encoding="utf-8")
    edit_graph(folder / GRAPH_FILE, folder / GRAPH_FILE, spec)
    found = {name: checksum(folder / name) for name in CHECKED_FILES if (folder / name).exists()}
    spec = replace(spec, checksums=found)
    (folder / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
    return spec


def package_versions() -> dict[str, str]:
    """Versions of the packages that make a judge."""
    names = ("lager-onnx", "torch", "transformers", "optimum", "optimum-onnx", "onnx-ir", "onnxruntime")
    return {name: found for name in names if (found := _version(name))}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # an export from ONNX needs few of them
        return None


def folder_size(folder: Path) -> int:
    """Bytes of all files of a judge folder."""
    return sum(file.stat().st_size for file in folder.iterdir())
