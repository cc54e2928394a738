"""`lager tune`: labels in, a judge with other weights out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from click.testing import CliRunner, Result

from lager_onnx import Judge
from lager_onnx.analysis import tune as tune_in_memory
from lager_onnx.cli import main
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.files import cache_folder
from lager_onnx.runtime.graph_file import LAYER_WEIGHTS

WORDS = ("good", "bad", "fine", "wrong", "prime")


def records(number: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [
        {
            "instruction": "Name a prime.",
            "response": " ".join(random.choice(WORDS, 5)),
            "human_score": float(random.integers(1, 6)),
            "group": f"g{row // 2}",
        }
        for row in range(number)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tune(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["tune", *map(str, arguments), "--device", "cpu"])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lager-onnx"


@pytest.mark.parametrize("recipe", ["choose", "regularised", "paper"])
def test_a_tuned_judge_is_a_judge(tiny_judge: Path, tmp_path: Path, recipe: str) -> None:
    labelled = write(tmp_path / "labelled.jsonl", records(60))
    result = tune(tiny_judge, labelled, "-o", tmp_path / "tuned", "--recipe", recipe)
    assert result.exit_code == 0, result.output
    assert "60 labels, 30 groups, 5 folds" in result.stdout
    spec, before = JudgeSpec.load(tmp_path / "tuned"), JudgeSpec.load(tiny_judge)
    assert "labelled.jsonl" in spec.weights_origin
    assert sum(spec.layer_weights) == pytest.approx(1, abs=1e-5)
    if recipe == "paper":
        assert spec.layer_weights != before.layer_weights
    stored = ir.load(tmp_path / "tuned" / "model.onnx").graph.initializers[LAYER_WEIGHTS].const_value
    np.testing.assert_allclose(stored.numpy().reshape(-1), spec.layer_weights)
    rows = records(3)
    for got, old in zip(
        Judge.load(tmp_path / "tuned", device="cpu").score(rows), Judge.load(tiny_judge).score(rows), strict=True
    ):
        np.testing.assert_allclose(got.layer_logits, old.layer_logits, atol=1e-5)
        z = np.asarray(spec.layer_weights) @ old.layer_logits
        p = np.exp(z) / np.exp(z).sum()
        assert got.score == pytest.approx(float(p @ np.arange(1, 6)), abs=1e-4)


def test_calibrated_scores_are_nearer_to_labels(tiny_judge: Path, tmp_path: Path) -> None:
    rows = [row | {"human_score": 1 + row["response"].count("good")} for row in records(80)]
    rows = [row for row in rows if row["human_score"] <= 5]
    labelled = write(tmp_path / "labelled.jsonl", rows)
    result = tune(tiny_judge, labelled, "-o", tmp_path / "tuned", "--calibrate")
    assert result.exit_code == 0, result.output
    lines = {line[:20].strip(): line[20:].split() for line in result.stdout.splitlines()}
    errors = {name: float(lines[name][8]) for name in ("uniform", "tuned", "calibrated")}
    assert errors["calibrated"] < errors["tuned"]
    assert errors["calibrated"] < float(lines["the labels' median"][0]) + 0.02
    labels = np.array([row["human_score"] for row in rows])
    plain, calibrated = (
        np.array([grade.score for grade in Judge.load(folder, device="cpu").score(rows)])
        for folder in (tiny_judge, tmp_path / "tuned")
    )
    assert np.abs(calibrated - labels).mean() < np.abs(plain - labels).mean()
    spec = JudgeSpec.load(tmp_path / "tuned")
    assert spec.calibration is not None
    assert spec.calibration.origin == f"{len(rows)} labels of labelled.jsonl"
    inspected = CliRunner().invoke(main, ["inspect", str(tmp_path / "tuned")])
    assert spec.calibration.origin in inspected.stdout
    evaluated = CliRunner().invoke(main, ["evaluate", str(tmp_path / "tuned"), str(labelled), "--resamples", "20"])
    assert "LAGER calibrated" in evaluated.stdout


def test_the_function_says_and_writes_what_the_command_does(tiny_judge: Path, tmp_path: Path) -> None:
    labelled = write(tmp_path / "labelled.jsonl", records(60))
    result = tune(tiny_judge, labelled, "-o", tmp_path / "tuned")
    found = tune_in_memory(Judge.load(tiny_judge, device="cpu"), records(60), name="labelled.jsonl")
    assert result.stdout.rstrip() == found.describe()
    found.write(tiny_judge, tmp_path / "written")
    assert JudgeSpec.load(tmp_path / "written") == JudgeSpec.load(tmp_path / "tuned")


def test_large_weights_are_not_written_again(tiny_judge: Path, tmp_path: Path) -> None:
    labelled = write(tmp_path / "labelled.jsonl", records(60))
    assert tune(tiny_judge, labelled, "-o", tmp_path / "tuned").exit_code == 0
    for name in ("model.onnx_data", "tokenizer.json"):
        assert (tmp_path / "tuned" / name).samefile(tiny_judge / name)
    assert not (tmp_path / "tuned" / "model.onnx").samefile(tiny_judge / "model.onnx")
    again = tune(tiny_judge, labelled, "-o", tmp_path / "tuned")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    in_place = tune(tmp_path / "tuned", labelled, "--recipe", "paper")
    assert in_place.exit_code == 0, in_place.output
    assert "recipe paper" in JudgeSpec.load(tmp_path / "tuned").weights_origin


def test_records_are_graded_once(
    tiny_judge: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled, graded = write(tmp_path / "labelled.jsonl", records(40)), []
    stream = Judge.score_stream

    def counted(self: Judge, given: Any, **options: Any) -> Any:
        graded.append(len(given))
        return stream(self, given, **options)

    monkeypatch.setattr(Judge, "score_stream", counted)
    first = tune(tiny_judge, labelled, "--dry-run")
    assert first.exit_code == 0, first.output
    assert tune(tiny_judge, labelled, "--dry-run").stdout == first.stdout
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2 + 3])  # an interrupted run's
    assert tune(tiny_judge, labelled, "--dry-run").stdout == first.stdout
    assert file.read_bytes() == whole
    assert graded == [40, 20]
    assert JudgeSpec.load(tiny_judge).weights_origin.startswith("untuned")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (None, "no label"),
        ("good", "not a number"),
        (float("nan"), "no label"),
        (True, "not a number"),
        (9, "out of"),
    ],
)
def test_bad_labels_are_named_with_their_line(tiny_judge: Path, tmp_path: Path, label: Any, message: str) -> None:
    rows = records(20)
    rows[6]["human_score"] = label
    result = tune(tiny_judge, write(tmp_path / "labelled.jsonl", rows))
    assert result.exit_code == 2
    assert "line 7" in result.stderr
    assert message in result.stderr


def test_what_cannot_be_learned_from_is_refused(tiny_judge: Path, tmp_path: Path) -> None:
    same = [row | {"human_score": 3} for row in records(20)]
    assert "all 20 labels are 3" in tune(tiny_judge, write(tmp_path / "same.jsonl", same)).stderr
    few = tune(tiny_judge, write(tmp_path / "few.jsonl", records(6)))
    assert few.exit_code == 2
    assert "3 groups" in few.stderr
    broken = records(20)
    del broken[4]["response"]
    result = tune(tiny_judge, write(tmp_path / "broken.jsonl", broken))
    assert result.exit_code == 2
    assert "line 5: field 'response' is missing" in result.stderr


def test_the_cache_is_kept_where_the_system_says(cache: Path) -> None:
    assert cache_folder() == cache
