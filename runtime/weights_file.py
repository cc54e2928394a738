"""Writes `model.onnx_data`, a judge's large weights, one at a time."""

from pathlib import Path
from typing import BinaryIO, Final

import onnx_ir as ir
from tqdm import tqdm

from lager_onnx.models.errors import ExportError
from lager_onnx.models.spec import GRAPH_FILE, WEIGHTS_FILE

# Tensors below stay inside model.onnx: norms, scalars, and lager.layer_weights, which tuning replaces.
_EXTERNAL_FROM_BYTES: Final = 16 * 1024
_PAGE: Final = 4096  # where tensors begin, so that they can be mapped one by one
_AT_ONCE: Final = 1 << 24  # bytes


class WeightsFile:
    """Tensors are written when they are known, and forgotten; the graph keeps where they lie.

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
            if isinstance(tensor, ir.ExternalTensor):  # in another file
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


def write_graph(model: ir.Model, folder: Path) -> None:
    """Writes `model.onnx` and, with all large weights, `model.onnx_data`; the graph then reads them from there."""
    with WeightsFile(folder) as file:
        file.store_all(model)


def _write(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    if not isinstance(tensor, ir.ExternalTensor):
        if isinstance(tensor, ir.LazyTensor):  # made in blocks
            tensor.tofile(file)
        else:
            file.write(tensor.tobytes())
        return
    # onnx_ir maps whole files, and refuses those that have another name, too, as a tuned judge's have.
    left = tensor.length or tensor.nbytes
    with Path(tensor.path).open("rb") as source:
        source.seek(tensor.offset or 0)
        while left and (block := source.read(min(left, _AT_ONCE))):
            left -= file.write(block)
