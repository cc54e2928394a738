"""Opens the files that hold a checkpoint's tensors: safetensors where there are any, else PyTorch's .bin."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lager_onnx.export.sources.tensors import SafetensorsFiles, StateDict, torch_files
from lager_onnx.models.errors import CheckpointError

_INDICES: Final = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE: Final = ("model.safetensors", "pytorch_model.bin")


def open_weight_files(folder: Path, rename: Callable[[str], str | None] = str) -> SafetensorsFiles | StateDict:
    """The tensors of a directory in Hugging Face format.

    Args:
        folder: the checkpoint.
        rename: see `SafetensorsFiles`.

    Raises:
        CheckpointError: there are no such files, or one of them is missing or damaged.
    """
    for single, index in zip(_SINGLE, _INDICES, strict=True):
        names = [single] if (folder / single).exists() else _shards(folder / index)
        if not names:
            continue
        if lost := [name for name in names if not (folder / name).is_file()]:
            raise CheckpointError(
                f"cannot load the checkpoint {folder}: of its {len(names)} shards, {', '.join(lost)} "
                f"{'is' if len(lost) == 1 else 'are'} missing"
            )
        files = [folder / name for name in names]
        if single.endswith(".safetensors"):
            return SafetensorsFiles(files, rename)
        if rename is not str:
            raise CheckpointError(f"{folder} holds no .safetensors, from which alone the text part of a model is taken")
        return torch_files(files)
    raise CheckpointError(f"cannot load the checkpoint {folder}: it holds none of {', '.join((*_SINGLE, *_INDICES))}")


def _shards(index: Path) -> list[str]:
    if not index.is_file():
        return []
    try:
        return sorted({str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{index} is no index of shards ({error!r})") from error
