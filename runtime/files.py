"""Files that are written whole, or not at all."""

import os
import stat
import tempfile
from pathlib import Path

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import OutputError
from lager_onnx.models.values import visible


def check_output(path: Path | None, *inputs: str | Path) -> None:
    """Looks whether a file can be written, before the work that fills it.

    Raises:
        OutputError: it is also an input, it is a folder, or its folder is not there.
    """
    if path is None:
        return
    try:
        for source in inputs:
            if str(source) != "-" and path.exists() and Path(source).exists() and path.samefile(source):
                raise OutputError(f"{shown(path)} is both input and output: give the results another name")
        if path.is_dir():
            raise OutputError(f"cannot write {shown(path)}: it is a folder")
        if not path.parent.is_dir():
            raise OutputError(f"cannot write {shown(path)}: there is no folder {shown(path.parent)}")
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error


def write_file(path: Path, content: str, *inputs: str | Path) -> None:
    """Writes a text file under a temporary name beside it, and renames that. Half surrogate pairs become escapes.

    Raises:
        OutputError: it cannot be written; what stood there before is as it was.
    """
    check_output(path, *inputs)
    data = content.encode("utf-8", "backslashreplace")
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):  # a pipe, or a device
            path.write_bytes(data)
        else:
            _replace(path, data)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cannot_write(path: Path | None, error: Exception, cure: Cure | None = None) -> OutputError:
    """What is said of an output that failed; None is standard output."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return OutputError(f"cannot write {shown(path) if path else 'standard output'}: {reason}", cure)


def shown(path: Path | str) -> str:
    """A path for a message."""
    return visible(str(path))


def cache_folder() -> Path:
    """Where layer logits and judges from the hub are kept: `lager-onnx` in $XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lager-onnx"
