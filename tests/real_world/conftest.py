"""A tiny judge, and its commands on records in a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lager_onnx import Judge
from lager_onnx.cli import main


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps layer logits in the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def judge(tiny_judge: Path) -> Judge:
    return Judge.load(tiny_judge, device="cpu", threads=1)


@pytest.fixture
def run(tiny_judge: Path, tmp_path: Path) -> Callable[..., Result]:
    """Runs a command on records in a file."""

    def command(name: str, records: list[dict[str, Any]], *options: str, judge: Path = tiny_judge) -> Result:
        (tmp_path / "in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        arguments = [name, str(judge), str(tmp_path / "in.jsonl"), *options]
        return CliRunner().invoke(main, arguments if name == "prompt" else [*arguments, "--device", "cpu"])

    return command
