"""Writes a judge folder: all of it or nothing."""

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import OutputError
from lager_onnx.models.spec import SPEC_FILE
from lager_onnx.runtime.files import cannot_write, shown

_AT_CWD: Final = {"linux": -100, "darwin": -2}
_EXCHANGE: Final = 2  # RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS


@contextmanager
def new_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder beside `target` to write into, which becomes `target` when the block ends well.

    A judge that is replaced is there until the new one is: both change names at once, where the system can do that.

    Raises:
        OutputError: there is something at `target` already and it may not be replaced, or it cannot be written.
    """
    try:
        _refuse(target, overwrite=overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True)
    except (OSError, ValueError) as error:
        raise cannot_write(target, error) from error
    with scratch as name:
        folder = Path(name) / "judge"
        folder.mkdir()
        try:
            yield folder
            if not target.exists():
                folder.rename(target)
            elif not _exchange(folder, target):
                target.rename(Path(name) / "replaced")
                folder.rename(target)
        except OSError as error:
            raise cannot_write(target, error) from error


def link_or_copy(source: Path, target: Path) -> None:
    """Another name for a file, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _refuse(target: Path, *, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise OutputError(
            f"{shown(target)} exists already",
            Cure(
                command="give another folder, or --overwrite to replace it",
                python="give another folder, or overwrite=True to replace it",
            ),
        )
    if not (target / SPEC_FILE).exists():
        raise OutputError(f"{shown(target)} is no judge folder, so it is not replaced: give another folder")


def _exchange(one: Path, other: Path) -> bool:
    """Lets two folders change names in one step; False where the system or its file system cannot."""
    if sys.platform not in _AT_CWD:
        return False
    library = ctypes.CDLL(None, use_errno=True)
    rename = getattr(library, "renameat2" if sys.platform == "linux" else "renameatx_np", None)
    if rename is None:
        return False
    here = _AT_CWD[sys.platform]
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), _EXCHANGE) == 0)
