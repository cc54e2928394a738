"""One writer at a time."""

import sys
from typing import IO


def try_lock(file: IO[bytes]) -> bool:
    """Takes an open file for this process alone, until it is closed; False where another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            position = file.tell()
            file.seek(0x7FFF_FFFF)  # a byte beyond the content: locks are mandatory there
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(position)
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return not isinstance(error, BlockingIOError | PermissionError)  # a file system or device without locks
    return True
