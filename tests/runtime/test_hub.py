"""Judges on a hub: a server of our own that speaks its API."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from lager_onnx import Judge
from support.hub import Hub

RECORD = {"instruction": "Name a prime.", "response": "Seven."}


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    with hub.running():
        yield hub


def lager(
    hub: Hub, home: Path, *arguments: object, token: str = "secret", offline: bool = False
) -> tuple[int, str, str]:
    """Runs it in a process of its own: huggingface_hub reads its variables when it is imported."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_") or name == "HF_HUB_DISABLE_XET"
    }
    environment |= {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "HF_TOKEN": token, "XDG_CACHE_HOME": str(home / "cache"),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": str(int(offline)),
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name("lager")), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_a_judge_is_published_and_fetched(hub: Hub, tiny_judge: Path, tmp_path: Path) -> None:
    interval = {"value": 0.4, "low": 0.3, "high": 0.5}
    figures = [
        {"part": "all", "records": 90, "method": method, "spearman": interval, "pearson": interval | {"value": None}}
        for method in ("LAGER", "E-Score (expectation)")
    ]
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    options = ["--license", "mit", "--evaluation", tmp_path / "figures.json", "--dataset", "tickets"]
    code, output, errors = lager(hub, tmp_path, "push", tiny_judge, "org/tiny", *options)
    assert code == 0, errors
    assert output.startswith(f"{hub.url}/org/tiny/commit/")
    (files,) = hub.commits["org/tiny"]
    for file in tiny_judge.iterdir():
        assert file.name == "README.md" or files[file.name] == file.read_bytes()
    head, card = files["README.md"].decode().split("---\n")[1:3]
    metadata = yaml.safe_load(head)
    assert metadata["library_name"] == "lager-onnx"
    assert metadata["license"] == "mit"
    assert metadata["pipeline_tag"] == "text-classification"
    assert "llm-as-a-judge" in metadata["tags"]
    assert "base_model" not in metadata  # it was a local folder
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"]["name"] == "tickets: all"
    assert [(each["type"], each["value"]) for each in result["metrics"]] == [("spearman", 0.4)]
    assert "# LAGER judge made from" in card

    code, _, errors = lager(hub, tmp_path, "pull", "org/tiny", tmp_path / "fetched")
    assert code == 0, errors
    expected = Judge.load(tiny_judge, device="cpu").score([RECORD])[0].score
    assert Judge.load(tmp_path / "fetched", device="cpu").score([RECORD])[0].score == expected


def test_commands_take_an_id_on_the_hub(hub: Hub, tiny_judge: Path, tmp_path: Path) -> None:
    assert lager(hub, tmp_path, "push", tiny_judge, "org/tiny")[0] == 0
    (tmp_path / "records.jsonl").write_text(json.dumps(RECORD) + "\n")
    expected = Judge.load(tiny_judge, device="cpu").score([RECORD])[0].score
    for offline in (False, True):  # the second time from the cache
        hub.requests.clear()
        code, output, errors = lager(hub, tmp_path, "score", "org/tiny", tmp_path / "records.jsonl", offline=offline)
        assert code == 0, errors
        assert json.loads(output)["score"] == expected
        assert bool(hub.requests) != offline
    assert not [request for request in hub.requests if request.startswith("GET /org/tiny/resolve")]


def test_what_cannot_be_had_says_why(hub: Hub, tiny_judge: Path, tmp_path: Path) -> None:
    code, _, errors = lager(hub, tmp_path, "score", "org/nothing", "-")
    assert code == 2
    assert "there is no folder org/nothing, and from the hub it cannot be fetched" in errors
    assert "Traceback" not in errors
    hub.commits["org/other"] = [{"config.json": b"{}"}]
    code, _, errors = lager(hub, tmp_path, "pull", "org/other", tmp_path / "other")
    assert code == 2
    assert "org/other has no judge.json, it is no judge" in errors
    code, _, errors = lager(hub, tmp_path, "push", tiny_judge, "org/tiny", token="wrong")
    assert code == 2
    assert "cannot publish org/tiny" in errors
    code, _, errors = lager(hub, tmp_path, "push", tmp_path, "org/tiny")
    assert code == 2
    assert "not a judge folder" in errors
    (tmp_path / "wrong.json").write_text("[1]")
    code, _, errors = lager(hub, tmp_path, "push", tiny_judge, "org/tiny", "--evaluation", tmp_path / "wrong.json")
    assert code == 2
    assert "is not what lager evaluate --json writes" in errors


def test_a_revision_is_for_the_hub(tiny_judge: Path) -> None:
    from lager_onnx.models.errors import HubError

    with pytest.raises(HubError, match="is a folder here"):
        Judge.load(tiny_judge, revision="main")
