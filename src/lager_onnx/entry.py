"""Where the command `lager` begins: Ctrl-C ends it with 130 at any time, also while Python still imports."""

import os
import sys


def main() -> None:
    """Runs the command line."""
    try:
        from lager_onnx.cli import main as run  # noqa: PLC0415

        run()
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        sys.stderr.flush()
        os._exit(130)  # threads that still grade are not waited for
