"""Runs a command and prints the most anonymous memory that it held: what it computed, not the files that it mapped."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

_EVERY: Final = 0.05  # seconds


def run(command: list[str]) -> tuple[int, float, float]:
    """Exit status, seconds, and peak of anonymous memory in bytes (RssAnon and RssShmem of the process)."""
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(_EVERY)
    return process.returncode, time.perf_counter() - start, peak


def anonymous(pid: int) -> int:
    """Bytes of a process's anonymous memory; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    sizes = [line.split() for line in lines if line.startswith(("RssAnon:", "RssShmem:"))]
    return sum(int(kilobytes) * 1024 for _, kilobytes, _ in sizes)


if __name__ == "__main__":
    status, seconds, peak = run(sys.argv[1:])
    print(f"{' '.join(sys.argv[1:])}\n    {seconds:.1f} s, peak of anonymous memory {peak / 2**30:.2f} GiB")
    sys.exit(status)
