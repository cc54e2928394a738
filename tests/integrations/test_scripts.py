"""The scripts of docs/integrations, each run against the real package on five records."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lager_onnx import Judge
from support.server import Server

SCRIPTS = Path(__file__).parents[2] / "docs" / "integrations"


def run(name: str, *arguments: object, package: str | None = None) -> list[dict[str, Any]]:
    """The JSON lines that a script prints."""
    pytest.importorskip(package or name)
    command = [sys.executable, str(SCRIPTS / f"with_{name}.py"), *map(str, arguments)]
    quiet = {"HF_HUB_OFFLINE": "1", "DEEPEVAL_TELEMETRY_OPT_OUT": "1", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    folder = Path(str(arguments[1])).parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ | quiet, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def expected(judge: Path, path: Path, **fields: str) -> list[float]:
    grades = Judge.load(judge, device="cpu").score([{**row, **fields} for row in rows(path)])
    assert len({grade.score for grade in grades}) == 5
    return [grade.score for grade in grades]


def normalized(scores: Sequence[float]) -> list[float]:
    return [(score - 1) / 4 for score in scores]


@pytest.mark.parametrize("package", ["pandas", "datasets"])
def test_tables(package: str, tiny_judge: Path, five: Path) -> None:
    found = run(package, tiny_judge, five)
    assert [row["response"] for row in found] == [row["response"] for row in rows(five)]
    assert [row["score"] for row in found] == pytest.approx(expected(tiny_judge, five))


def test_deepeval(tiny_judge: Path, five: Path) -> None:
    found = run("deepeval", tiny_judge, five)
    right = normalized(expected(tiny_judge, five, criterion="correctness"))
    assert [row["score"] for row in found] == pytest.approx(right)
    assert [row["success"] for row in found] == [score >= 0.5 for score in right]


def test_ragas(tiny_judge: Path, five: Path) -> None:
    found = run("ragas", tiny_judge, five)
    assert [row["score"] for row in found] == pytest.approx(
        normalized(expected(tiny_judge, five, criterion="correctness"))
    )


def test_mlflow(tiny_judge: Path, five: Path) -> None:
    found = {row["response"]: row["score"] for row in run("mlflow", tiny_judge, five)}
    assert [found[row["response"]] for row in rows(five)] == pytest.approx(expected(tiny_judge, five))


def test_inspect_ai(tiny_judge: Path, five: Path) -> None:
    found = {row["id"]: row["score"] for row in run("inspect_ai", tiny_judge, five)}
    right = expected(tiny_judge, five, criterion="correctness")
    assert [found[row["id"]] for row in rows(five)] == pytest.approx(right)


def test_lm_eval(tiny_judge: Path, five: Path) -> None:
    found = run("lm_eval", tiny_judge, five)
    records = [
        {"instruction": row["instruction"], "response": answer["response"], "criterion": "helpfulness"}
        for row, answer in zip(rows(five), found, strict=True)
    ]
    grades = Judge.load(tiny_judge, device="cpu").score(records)
    assert [row["score"] for row in found] == pytest.approx([grade.score for grade in grades])


def test_datatrove(tiny_judge: Path, five: Path, tmp_path: Path) -> None:
    right = expected(tiny_judge, five)
    least = sorted(right)[2]
    run("datatrove", tiny_judge, five, tmp_path / "kept", least - 1e-6)
    kept = {row["text"]: row["metadata"]["score"] for row in rows(tmp_path / "kept" / "00000.jsonl")}
    responses = [row["response"] for row in rows(five)]
    assert kept == pytest.approx(
        {text: score for text, score in zip(responses, right, strict=True) if score >= least - 1e-6}
    )


def test_spark(tiny_judge: Path, five: Path, tmp_path: Path) -> None:
    run("spark", tiny_judge, five, tmp_path / "graded", package="pyspark")
    graded = [row for part in sorted((tmp_path / "graded").glob("part-*.json")) for row in rows(part)]
    found = {row["id"]: row["score"] for row in graded}
    right = expected(tiny_judge, five)
    assert [found[row["id"]] for row in rows(five)] == pytest.approx(right)


def test_langchain(tiny_judge: Path, five: Path, server: Server) -> None:
    found = run("langchain", f"{server.url}/v1", five, package="langchain_openai")
    asked: list[dict[str, Any]] = []
    for row in rows(five):
        text = f"{row['instruction']}\n\nAnswer: {row['response']}"
        asked += [
            {"text": text, "question": "Is the answer correct?", "choices": ["no", "yes"]},
            {"text": text, "question": "How good is the answer?", "levels": ["poor", "fair", "good"]},
        ]
    grades = Judge.load(tiny_judge, device="cpu").score(asked)
    assert [row["correct"] for row in found] == pytest.approx([grade.distribution[1] for grade in grades[::2]])
    assert [row["quality"] for row in found] == pytest.approx([grade.score - 1 for grade in grades[1::2]])
