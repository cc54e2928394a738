"""Finds the files of a checkpoint: a local folder, a GGUF file, or a snapshot of a hub id."""

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from lager_onnx.models.errors import CheckpointError

_WITHOUT_WEIGHTS: Final = ("*.json", "*.model", "*.txt", "*.jinja", "*.py")
_WEIGHTS: Final = ("model*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class Files:
    """A checkpoint's files.

    Attributes:
        folder: the directory that holds them.
        gguf: name of the GGUF file in it that was given; None for a directory in Hugging Face format.
        commit: of a hub id's snapshot; "" for local files.
    """

    folder: Path
    gguf: str | None = None
    commit: str = ""


def find_files(name: str, revision: str | None = None) -> Files:
    """The local files of a checkpoint; those of a hub id are downloaded first.

    Raises:
        CheckpointError: there is nothing by that name, or it cannot be downloaded.
    """
    try:
        path = Path(name).expanduser()
        exists, is_file = path.exists(), path.is_file()
    except (ValueError, OSError, RuntimeError) as error:  # a NUL, a name too long, an unknown user's home
        raise CheckpointError(f"{name!r} is no path: {error}") from error
    if is_file:
        if path.suffix != ".gguf":
            raise CheckpointError(f"{name} is a file but no .gguf: give a directory, a .gguf file or a hub id")
        return Files(path.parent, path.name)
    if exists:
        return Files(path)
    if not name or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise CheckpointError(f"no checkpoint at {name!r}: the path does not exist")
    return _snapshot(name, revision)


def _snapshot(name: str, revision: str | None) -> Files:
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_wanted(name, revision)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{name} is no local path, and as a hub id it cannot be downloaded ({error}): check the name, the network, "
            "and HF_TOKEN for models behind a licence"
        ) from error
    return Files(folder, commit=folder.name)


def _wanted(name: str, revision: str | None) -> list[str]:
    """Configuration, tokeniser and the weights once: of several formats safetensors, of several copies transformers'.

    Raises:
        CheckpointError: there are GGUF files only.
    """
    try:
        files = [file for file in HfApi().list_repo_files(name, revision=revision) if "/" not in file]
    except OfflineModeIsEnabled:  # whatever the cache holds was wanted once
        return [*_WITHOUT_WEIGHTS, "model*.safetensors", "pytorch_model*.bin"]
    for pattern in _WEIGHTS:
        if weights := [file for file in files if fnmatch(file, pattern)]:
            return [*(file for file in files if any(fnmatch(file, text) for text in _WITHOUT_WEIGHTS)), *weights]
    if ggufs := sorted(file for file in files if file.endswith(".gguf")):
        raise CheckpointError(
            f"{name} holds GGUF files: choose one, and give its path after hf download {name} {ggufs[0]} --local-dir ."
        )
    return [*_WITHOUT_WEIGHTS, "*.safetensors"]
