"""Runs the server until it is told to stop."""

import logging
import os
import signal
import socket
from types import FrameType
from typing import Final

import uvicorn

from lager_onnx.models.errors import OutputError
from lager_onnx.runtime.judge import Judge
from lager_onnx.serve.app import make_app
from lager_onnx.serve.service import Settings

_AT_ONCE: Final = b"\nStopped at once: requests that were being graded are not answered.\n"
_LOG: Final = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False}},
}


def serve(judge: Judge, settings: Settings, *, host: str, port: int, drain: int) -> None:
    """Answers until SIGTERM or Ctrl-C; what is being graded then is answered first.

    Args:
        judge: that answers; it is closed at the end.
        settings: of the server.
        host: address to listen at.
        port: to listen at; 0 for any that is free.
        drain: seconds that requests have to end in when the server stops.

    Raises:
        OutputError: the port cannot be had.
    """
    config = uvicorn.Config(
        make_app(judge, settings), log_config=_LOG, timeout_graceful_shutdown=drain, server_header=False,
    )  # fmt: skip
    try:
        listening = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise OutputError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error
    name = f"[{host}]" if ":" in host else host
    logging.getLogger("uvicorn").info(
        "%s on %s at http://%s:%d", settings.name, judge.provider, name, listening.getsockname()[1]
    )
    with listening:
        _Server(config).run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's server, whose second Ctrl-C ends the process: its own cancels tasks, and each prints a traceback."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal; end at once at Ctrl-C while draining."""
        if self.should_exit and sig == signal.SIGINT:
            os.write(2, _AT_ONCE)
            os._exit(130)  # threads that still grade would keep Python from ending
        super().handle_exit(sig, frame)
