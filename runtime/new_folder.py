"""Writes a judge folder: all of it or nothing."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lager_onnx.models.errors import OutputError
from lager_onnx.models.spec import SPEC_FILE


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
