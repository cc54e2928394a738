"""Says what the exporter does and how long each step took."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("lager_onnx.export")


@contextmanager
def step(what: str) -> Iterator[None]:
    """Logs `what` at the start of the block and its seconds at the end."""
    logger.info("%s ...", what)
    start = time.perf_counter()
    yield
    logger.info("    %.1f s", time.perf_counter() - start)
