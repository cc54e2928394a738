"""`--reasoning` on the command line: a tiny judge writes, and every command that grades takes what it says."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lager_onnx.cli import main
from lager_onnx.export import export_judge
from support.tiny import HEAD, VARIANTS, make_checkpoint

ROWS = [
    {
        "instruction": "Count.",
        "response": "good " * (1 + number % 7),
        "human_score": 1 + number % 5,
        "group": str(number // 2),
    }
    for number in range(24)
]
FLAGS = ["--reasoning", "--max-feedback-tokens", "6", "--threads", "1"]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("writing")
    checkpoint = make_checkpoint(folder / "checkpoint", *VARIANTS["llama"], head=HEAD)
    export_judge(checkpoint, folder / "judge", reasoning=True, template="reasoning", verify_judge=False)
    return folder / "judge"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_score_adds_the_feedback_and_goes_on_where_it_ended(judge: Path, records: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    assert run("score", judge, records, "-o", whole, *FLAGS).exit_code == 0
    rows = read(whole)
    assert [set(row) - set(ROWS[0]) for row in rows] == [{"score", "probabilities", "feedback", "ended", "named"}] * 24
    assert {row["ended"] for row in rows} <= {"limit", "end", "prefix"}
    part.write_text("".join(whole.read_text().splitlines(keepends=True)[:7]))
    resumed = run("score", judge, records, "-o", part, "--resume", *FLAGS)
    assert resumed.exit_code == 0, resumed.output
    assert part.read_text() == whole.read_text()
    other = run("score", judge, records, "-o", part, "--resume", "--threads", 1)
    assert (other.exit_code, "with other flags" in other.output) == (2, True)
    direct = tmp_path / "direct.jsonl"
    assert run("score", judge, records, "-o", direct).exit_code == 0
    assert [row["score"] for row in read(direct)] != [row["score"] for row in rows]


def test_samples_are_written_beside_each_other(judge: Path, records: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.jsonl"
    drawn = ["--samples", 2, "--temperature", 1.0, "--seed", 3]
    assert run("score", judge, records, "-o", output, *FLAGS, *drawn).exit_code == 0
    assert {len(row["feedbacks"]) for row in read(output)} == {2}
    refused = run("score", judge, records, *FLAGS, "--samples", 2)
    assert (refused.exit_code, "need a temperature" in refused.output) == (2, True)


def test_unnamed_ones_are_dropped_where_that_is_asked_for(judge: Path, records: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.jsonl"
    asked = run("score", judge, records, "-o", output, *FLAGS, "--drop-unnamed", "--on-error", "skip")
    assert asked.exit_code == 0
    assert all("named no grade" in row.get("error", "") or row["named"] for row in read(output))


def test_evaluate_and_tune_take_it_and_keep_what_was_graded(
    judge: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = run("evaluate", judge, records, *FLAGS, "--resamples", 20)
    assert found.exit_code == 0, found.output
    (feedback,) = (tmp_path / "lager-onnx").glob("*.feedback.jsonl")
    assert f"what the judge wrote: {feedback}" in found.output
    output = tmp_path / "scores.jsonl"
    assert run("score", judge, records, "-o", output, *FLAGS).exit_code == 0
    assert read(feedback) == [{name: row[name] for name in ("feedback", "ended", "named")} for row in read(output)]
    tuned = run("tune", judge, records, "-o", tmp_path / "tuned", *FLAGS)
    assert tuned.exit_code == 0, tuned.output
    assert len(list((tmp_path / "lager-onnx").glob("*.layer_logits"))) == 1  # the second has found the first one's
    assert found.output != run("evaluate", judge, records, "--threads", 1, "--resamples", 20).output
    assert len(list((tmp_path / "lager-onnx").glob("*.layer_logits"))) == 2


def test_an_interrupted_evaluation_goes_on_with_text_and_logits(
    judge: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = tmp_path / "lager-onnx"
    whole = run("evaluate", judge, records, *FLAGS, "--resamples", 20)
    (logits,), (feedback,) = cache.glob("*.layer_logits"), cache.glob("*.feedback.jsonl")
    lines, numbers = feedback.read_bytes(), logits.read_bytes()
    # A kill has left nine rows and a half, and six lines and a half.
    logits.unlink()
    feedback.unlink()
    logits.with_suffix(".partial").write_bytes(numbers[: len(numbers) * 19 // 48])
    six = b"".join(lines.splitlines(keepends=True)[:6])
    (cache / f"{logits.stem}.partial.feedback").write_bytes(six + b'{"feedb')
    again = run("evaluate", judge, records, *FLAGS, "--resamples", 20)
    assert again.output == whole.output
    assert (feedback.read_bytes(), logits.read_bytes()) == (lines, numbers)
    assert not list(cache.glob("*partial*"))


def test_it_is_said_whether_a_judge_writes(judge: Path, tiny_judge: Path) -> None:
    shown, others = (run("inspect", folder).output for folder in (judge, tiny_judge))
    assert "writes feedback before it grades" in shown
    assert "feedback" not in others
    assert "(`--reasoning`) | written by the judge |" in (judge / "README.md").read_text(encoding="utf-8")


def test_a_judge_that_cannot_write_says_how_to_make_one(tiny_judge: Path, records: Path) -> None:
    for command in ("score", "evaluate", "tune"):
        refused = run(command, tiny_judge, records, *FLAGS)
        assert (refused.exit_code, "export it with --reasoning" in refused.output) == (1, True), refused.output
