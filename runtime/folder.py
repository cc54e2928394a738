"""Opens a judge folder and checks that it is whole."""

import hashlib
import mmap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lager_onnx.models.errors import JudgeFolderError
from lager_onnx.models.spec import GRAPH_FILE, TOKENIZER_FILE, JudgeSpec


def read_spec(folder: Path) -> JudgeSpec:
    """The spec of a judge folder whose files are all there.

    Raises:
        JudgeFolderError: no judge, a damaged `judge.json`, or a missing file.
    """
    spec = JudgeSpec.load(folder)
    if missing := [name for name in {GRAPH_FILE, TOKENIZER_FILE, *spec.checksums} if not (folder / name).is_file()]:
        raise JudgeFolderError(f"{folder} lacks {', '.join(sorted(missing))}: copy the whole folder, or export again")
    return spec


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
            if future.result() != spec.checksums[name]:
                raise JudgeFolderError(
                    f"{folder / name} is damaged or belongs to another judge (its SHA-256 is not the one in "
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
