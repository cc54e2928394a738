"""A checkpoint's tensors, read from its files one at a time."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open

from lager_onnx.models.errors import CheckpointError

Shape = tuple[int, ...]


class Tensors(Protocol):
    """A checkpoint's tensors by name. What is read is mapped, where the files allow it, and nothing is held."""

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Of all of them, by name."""

    def read(self, name: str, first: int = 0, end: int | None = None) -> torch.Tensor:
        """The rows of a tensor from one on up to, and without, another; all of them by default; as they are stored."""


class SafetensorsFiles:
    """The tensors of `.safetensors` files, mapped into memory.

    Args:
        files: shards.
        rename: gives the model's name of a tensor by its name in the file, or None for one that is no part of it.

    Raises:
        CheckpointError: a file is damaged.
    """

    def __init__(self, files: Iterable[Path], rename: Callable[[str], str | None] = str):
        self._where: dict[str, tuple[Any, str]] = {}
        self.shapes: dict[str, Shape] = {}
        self.types: dict[str, str] = {}  # as safetensors calls them, such as BF16
        for file in files:
            try:
                opened = safe_open(file, framework="pt")
                names: list[str] = opened.keys()  # type: ignore[no-untyped-call]
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"cannot load the checkpoint: {file} is damaged ({error})") from error
            for stored in names:
                name = rename(stored)
                if name is not None:
                    self._where[name] = opened, stored
                    part = opened.get_slice(stored)  # type: ignore[no-untyped-call]
                    self.shapes[name], self.types[name] = tuple(part.get_shape()), str(part.get_dtype())

    def read(self, name: str, first: int = 0, end: int | None = None) -> torch.Tensor:
        """See `Tensors.read`."""
        file, stored = self._where[name]
        tensor: torch.Tensor = file.get_tensor(stored)
        return tensor[first:end] if tensor.ndim else tensor


class StateDict:
    """Tensors that are in memory, or mapped by `torch.load`."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]):
        self._tensors = tensors
        self.shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.types = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}

    def read(self, name: str, first: int = 0, end: int | None = None) -> torch.Tensor:
        """See `Tensors.read`."""
        tensor = self._tensors[name]
        return tensor[first:end] if tensor.ndim else tensor


def torch_files(files: Iterable[Path]) -> StateDict:
    """The tensors of `.bin` files, mapped into memory.

    Raises:
        CheckpointError: a file is damaged, or of PyTorch's old format, which cannot be mapped.
    """
    found: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            content = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        except Exception as error:  # whatever the broken bytes lead to
            raise CheckpointError(f"cannot load the checkpoint: {file} cannot be read ({error})") from error
        found |= {name: tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}
    return StateDict(found)


class Renamed:
    """Tensors under other names; one that holds NaN or infinite numbers is refused when it is read.

    Args:
        tensors: under theirs.
        names: theirs by the new ones; what is not in it is left out.
    """

    def __init__(self, tensors: Tensors, names: Mapping[str, str]):
        self._tensors, self._names = tensors, names
        self.shapes = {name: tensors.shapes[theirs] for name, theirs in names.items()}

    def read(self, name: str, first: int = 0, end: int | None = None) -> torch.Tensor:
        """See `Tensors.read`."""
        tensor = self._tensors.read(self._names[name], first, end)
        _check_finite(tensor, self._names[name])
        return tensor


def _check_finite(tensor: torch.Tensor, name: str) -> None:
    """Refuse NaN and infinite numbers, by the smallest and the largest number: without a copy of the tensor."""
    if not tensor.numel() or not tensor.is_floating_point():
        return
    smallest, largest = (float(each) for each in torch.aminmax(tensor))
    if math.isnan(smallest) or math.isinf(smallest) or math.isinf(largest):
        what = "what is no number (NaN)" if math.isnan(smallest) else "infinite numbers"
        raise CheckpointError(
            f"{name} holds {what}, so nothing can be computed with it: the checkpoint is damaged, or its training "
            "overflowed. Export another one"
        )
