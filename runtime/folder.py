"""Opens a judge folder and checks that it is whole."""

import hashlib
import json
import mmap
import os
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lager_onnx.models.errors import JudgeFolderError
from lager_onnx.models.spec import CHECKED_FILES, GRAPH_FILE, GRAPH_KEY, JudgeSpec
from lager_onnx.runtime.files import shown


def read_spec(folder: Path) -> JudgeSpec:
    """The spec of a judge folder whose files are all there.

    Raises:
        JudgeFolderError: no judge, a damaged `judge.json`, or a file that is missing or no regular one of the folder.
    """
    try:
        spec = JudgeSpec.load(folder)
        for name in CHECKED_FILES:
            file, there = folder / name, os.path.lexists(folder / name)
            if not there and name in spec.checksums:
                raise JudgeFolderError(f"{shown(folder)} lacks {name}: copy the whole folder, or export again")
            if there and name not in spec.checksums:
                raise JudgeFolderError(f"{shown(file)} has no checksum in judge.json: export the judge again")
            if there and not stat.S_ISREG(file.lstat().st_mode):
                raise JudgeFolderError(f"{shown(file)} is a link or no regular file: copy the file itself there")
    except (OSError, ValueError) as error:  # a NUL in the path, a folder that may not be read
        raise JudgeFolderError(f"{shown(folder)} is not a judge folder: {error}") from error
    return spec


def check_graph(spec: JudgeSpec, metadata: Mapping[str, str], folder: Path) -> None:
    """Holds `judge.json` against what the graph says of itself.

    Raises:
        JudgeFolderError: they contradict each other; says in what.
    """
    try:
        held = json.loads(metadata.get(GRAPH_KEY, "null"))
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, dict):
        raise JudgeFolderError(
            f"{shown(folder / GRAPH_FILE)} does not say what it was made with: export the judge again"
        )
    said = spec.for_graph()
    if different := sorted(name for name in held.keys() | said.keys() if held.get(name) != said.get(name)):
        raise JudgeFolderError(
            f"{shown(folder)} contradicts itself: {', '.join(different)} in judge.json and in {GRAPH_FILE} are not the "
            "same. Copy the whole folder again, or export again"
        )


def start_checking(folder: Path, spec: JudgeSpec) -> Callable[[], None]:
    """Starts to compare the files with their checksums, in a thread, while the caller opens the session.

    Returns:
        A function that waits for the end and raises `JudgeFolderError` for a file that is not the exporter's.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checksums")
    futures = {name: pool.submit(checksum, folder / name) for name in spec.checksums}
    pool.shutdown(wait=False)

    def finish() -> None:
        for name, future in futures.items():
            try:
                found = future.result()
            except OSError as error:
                raise JudgeFolderError(f"cannot read {shown(folder / name)}: {error.strerror}") from error
            if found != spec.checksums[name]:
                raise JudgeFolderError(
                    f"{shown(folder / name)} is damaged or belongs to another judge (its SHA-256 is not the one in "
                    "judge.json): copy it again, or export again"
                )

    return finish


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    if not path.stat().st_size:  # which cannot be mapped
        return hashlib.sha256().hexdigest()
    # In one piece, and not as hashlib.file_digest reads: between its pieces it would wait for whatever other thread
    # runs Python code meanwhile.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return hashlib.sha256(mapped).hexdigest()
