"""Servers with a tiny judge that has ten digits."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.server import Server


@pytest.fixture(scope="session")
def decisions_judge(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lager_onnx.export import export_judge

    folder = tmp_path_factory.mktemp("served") / "decisions"
    export_judge(str(tiny_checkpoint), folder, scale="decisions")
    return folder


@pytest.fixture(scope="session")
def server(decisions_judge: Path) -> Iterator[Server]:
    running = Server(decisions_judge)
    yield running
    assert running.stop() == -signal.SIGTERM, "".join(running.log)


@pytest.fixture
def start(decisions_judge: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of a test's own."""
    started: list[Server] = []

    def begin(*options: str, **environment: str) -> Server:
        started.append(Server(decisions_judge, *options, **environment))
        return started[-1]

    yield begin
    for each in started:
        each.stop()
