"""Says what the exporter does and how long each step took, and of what fails in other people's code, where."""

import errno
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lager_onnx.extras import missing_package
from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import CheckpointError, ExportError, LagerError

_EXPORT: Final = "this export"
_TRUST: Final = Cure(command="on our command line that is --trust-remote-code", python="")  # the reason says it
logger = logging.getLogger("lager_onnx.export")

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Logs `what` at the start of the block and its seconds at the end."""
    logger.info("%s ...", what)
    start = time.perf_counter()
    yield
    logger.info("    %.1f s", time.perf_counter() - start)


@contextmanager
def foreign_errors(kind: type[CheckpointError] | type[ExportError], what: str) -> Iterator[None]:
    """Turns whatever another library raises over a user's files into an error of ours that says what failed.

    transformers, optimum, PyTorch and onnx_ir document few of the exceptions that broken, unusual or foreign code in a
    checkpoint leads to; all mean that this one cannot be used. The cause is chained.
    """
    try:
        yield
    except LagerError:
        raise
    except Exception as error:
        if (ours := _cause_of_ours(error)) is not None:
            raise ours from error
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise  # no fault of the user's files; whoever writes the judge says where there is no room
        if isinstance(error, ImportError) and (missing := missing_package(error, extra="cpu,export", to=_EXPORT)):
            raise missing from error
        reason = str(error).strip().rstrip(".") or type(error).__name__
        if isinstance(error, MemoryError) or "can't allocate memory" in reason or "bad_alloc" in reason:
            raise ExportError(
                f"{what}: memory is short ({reason}). Close other programs, or use a larger machine"
            ) from error
        raise kind(f"{what}: {reason}", _TRUST if "trust_remote_code" in reason else None) from error


def _cause_of_ours(error: BaseException) -> LagerError | None:
    """Return our error inside one that another library raised while it called us back; None if there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LagerError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
