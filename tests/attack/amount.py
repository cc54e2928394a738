"""How much of an attack is made: a little, or all with ATTACK=full."""

import os

FULL = os.environ.get("ATTACK") == "full"


def amount(little: int, full: int) -> int:
    return full if FULL else little


def report(text: str) -> None:
    """Shown by `make test-attack`, which runs pytest with -s."""
    print(f"\n    {text}", flush=True)
