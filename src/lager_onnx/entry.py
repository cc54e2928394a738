"""Where the command `lager` begins and ends: Ctrl-C is 130 at any time, also while Python imports or ends."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Runs the command line, and ends the process without waiting for threads that still grade."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background ignores it
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from lager_onnx.cli import main as run  # noqa: PLC0415

        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        code = 130
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # the reader has gone, which the command has said
        code = code or 1
    os._exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises `KeyboardInterrupt`, but ends at once during an import: some extension modules abort where that raises.

    Whatever is written survives that, as it does a kill.
    """
    outer = frame
    while outer is not None:
        if outer.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"\nStopped.\n")
            os._exit(130)
        outer = outer.f_back
    signal.default_int_handler(number, frame)
