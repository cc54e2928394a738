"""Where the command `lager` begins and ends: Ctrl-C is 130 at any time, also while Python imports or ends."""

import os
import sys


def main() -> None:
    """Runs the command line, and ends the process without waiting for threads that still grade."""
    try:
        from lager_onnx.cli import main as run  # noqa: PLC0415

        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        if not was_interrupted(error):
            raise
        print("\nStopped.", file=sys.stderr)
        code = 130
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # the reader has gone, which the command has said
        code = code or 1
    os._exit(code)


def was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: extension modules wrap it in others while they are imported."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
