"""Five records and a server, for tools that call judges."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.server import Server


@pytest.fixture(scope="module")
def server(tiny_judge: Path) -> Iterator[Server]:
    running = Server(tiny_judge, "--model-name", "lager", "--model-name", "jev-latest")  # typesafe-sdk's own
    yield running
    running.stop()


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """Records whose scores differ."""
    rows = [
        {"id": f"r{number}", "instruction": "Name a prime.", "response": "good bad seven nine " * number}
        for number in range(1, 6)
    ]
    path = tmp_path / "five.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
