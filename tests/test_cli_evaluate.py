"""Methods and figures against formulas, and `lager evaluate`."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.special import softmax
from scipy.stats import rankdata, spearmanr

from lager_onnx import Judge
from lager_onnx.analysis import compare, evaluate
from lager_onnx.analysis.evaluation.evaluate import beside_baselines
from lager_onnx.analysis.evaluation.methods import best_layer, methods
from lager_onnx.analysis.evaluation.metrics import (
    calibration_error,
    kendall,
    spearman_of_rows,
    weighted_kappa,
)
from lager_onnx.analysis.evaluation.tables import as_csv, as_json, as_text
from lager_onnx.analysis.labels.labelled import Labelled
from lager_onnx.cli import main
from lager_onnx.models.errors import LabelError
from lager_onnx.models.method import codes, ranks, spearman

VALUES = np.arange(1.0, 6.0)


@pytest.fixture
def data() -> Labelled:
    random = np.random.default_rng(0)
    labels = random.integers(1, 6, 60).astype(float)
    logits = random.normal(0, 2, (60, 4, 5))
    logits[:, 2] = -2 * np.abs(VALUES - labels[:, None]) + random.normal(0, 1, (60, 5))
    return Labelled(logits, labels, VALUES)


def test_methods_are_the_formulas_of_the_paper(data: Labelled) -> None:
    stored = np.array([0.1, 0.2, 0.3, 0.4])
    found = {method.name: method.scores for method in methods(data, stored, ablations=True)}
    last, mean = data.logits[:, -1], data.logits[:, [0, 3]].mean(axis=1)  # the embedding, and behind the norm
    each = softmax(data.logits, axis=-1)
    expected = {
        "vanilla": 1 + last.argmax(axis=-1),
        "expectation": softmax(last, axis=-1) @ VALUES,
        "LAGER uniform": softmax(mean, axis=-1) @ VALUES,
        "LAGER as stored": softmax(np.tensordot(data.logits, stored, (1, 0)), axis=-1) @ VALUES,
        "max of logits, uniform": 1 + mean.argmax(axis=-1),
        "max of probabilities, stored": 1 + np.tensordot(each, stored, (1, 0)).argmax(axis=-1),
        "expectation of probabilities, uniform": each[:, [0, 3]].mean(axis=1) @ VALUES,
    }
    assert len(found) == 10
    for name, scores in expected.items():
        np.testing.assert_allclose(found[name], scores, err_msg=name)
    assert best_layer(data, spearman).name == "layer 0, norm (oracle)"


def test_kappa_is_that_of_the_confusion_matrix() -> None:
    scores, labels = np.array([1, 2.4, 3, 5, 5, 2]), np.array([1, 2, 4.0, 5, 3, 1])
    table = np.zeros((5, 5))
    for row, column in zip([0, 1, 2, 4, 4, 1], [0, 1, 3, 4, 2, 0], strict=True):
        table[row, column] += 1
    weights = (VALUES[:, None] - VALUES) ** 2
    by_chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    expected = 1 - (weights * table).sum() / (weights * by_chance).sum()
    assert weighted_kappa(scores, labels, VALUES) == pytest.approx(expected)
    assert weighted_kappa(labels, labels, VALUES) == 1


def test_calibration_error_is_the_gap_between_confidence_and_truth() -> None:
    sure = np.tile([0.9, 0.1, 0, 0, 0], (10, 1))
    labels = np.array([1.0] * 6 + [2.0] * 4)  # right six times of ten at 0.9
    assert calibration_error(sure, labels, VALUES) == pytest.approx(0.3)
    assert calibration_error(np.tile([1.0, 0, 0, 0, 0], (10, 1)), np.ones(10), VALUES) == pytest.approx(0)


def test_ranks_and_spearman_are_scipy_s() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.integers(0, 9, 50) / 3, random.normal(size=50)
    np.testing.assert_array_equal(ranks(codes(scores)), rankdata(scores))
    assert spearman(scores, labels) == pytest.approx(spearmanr(scores, labels).statistic)
    rows = random.integers(0, 50, 50)
    assert spearman_of_rows(scores, labels)(rows) == pytest.approx(spearmanr(scores[rows], labels[rows]).statistic)


def test_ties_count_in_kendall() -> None:
    assert kendall(np.array([1.0, 1, 2]), np.array([1.0, 2, 3])) == pytest.approx(2 / np.sqrt(2 * 3))
    assert np.isnan(kendall(np.ones(3), np.arange(3.0)))


def test_parts_and_leads(data: Labelled) -> None:
    groups = [str(row // 2) for row in range(60)]
    parts = {"criterion": ["a", "b"] * 30, "dataset": ["one"] * 60}
    found = beside_baselines(data, groups, data.uniform(), parts, resamples=50)
    assert [row.part for row in found[::5]] == ["all", "criterion=a", "criterion=b"]
    by_name = {row.method: row for row in found if row.part == "all"}
    judge, vanilla = by_name["LAGER as stored"], by_name["vanilla"]
    assert judge.lead is None
    assert vanilla.lead is not None
    gap = judge.figures["spearman"].value - vanilla.figures["spearman"].value
    assert vanilla.lead.value == pytest.approx(gap)
    assert by_name["LAGER uniform"].lead is not None
    assert (by_name["LAGER uniform"].lead.low, by_name["LAGER uniform"].lead.high) == (0, 0)  # the same here
    assert vanilla.distinct <= 5 < judge.distinct
    assert "criterion=b, 30 records" in as_text(found)
    assert len(json.loads(as_json(found))) == len(found) == len(list(csv.DictReader(as_csv(found).splitlines())))


ROWS = [
    {"instruction": "Name a prime.", "response": "good " * (row + 1), "human_score": 1 + row % 5, "criterion": name}
    for row in range(10)
    for name in ("fluency", "relevance")
]


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def lager_evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments), "--device", "cpu", "--resamples", "20"])


def test_the_command_writes_what_it_prints(tiny_judge: Path, labelled: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", tiny_judge, labelled, "--device", "cpu", "--resamples", 20, "--ablations"]
    arguments += ["--json", tmp_path / "out.json", "--csv", tmp_path / "out.csv"]
    arguments += ["--html", tmp_path / "out.html"]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert "all, 20 records" in result.stdout
    figures = json.loads((tmp_path / "out.json").read_text())
    assert {row["part"] for row in figures} == {"all", "criterion=fluency", "criterion=relevance"}
    assert len(figures) == 3 * 11
    for row in csv.DictReader((tmp_path / "out.csv").read_text().splitlines()):
        assert row["method"] in result.stdout
    page = (tmp_path / "out.html").read_text()
    assert page.count("<svg") == 2
    assert page.count("<pre>") == 10  # the largest disagreements
    assert "LAGER as stored" in page


def test_the_functions_say_what_the_command_prints(tiny_judge: Path, labelled: Path) -> None:
    found = evaluate(Judge.load(tiny_judge, device="cpu"), ROWS, resamples=20)
    assert lager_evaluate(tiny_judge, labelled).stdout.rstrip() == as_text(found)
    with pytest.raises(LabelError, match="record 1: no label in field 'rating'"):
        evaluate(Judge.load(tiny_judge, device="cpu"), [{"rating": 3, **ROWS[0]}, ROWS[1]], label="rating")


def test_judges_are_compared_on_the_same_resamples(
    tiny_judges: dict[str, Path], labelled: Path, tmp_path: Path
) -> None:
    judges = [tiny_judges["fp32"], tiny_judges["int8"]]
    result = lager_evaluate(*judges, labelled, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    rows = [row for row in json.loads((tmp_path / "out.json").read_text()) if row["part"] == "all"]
    assert [row["method"] for row in rows] == ["fp32", "int8"]
    loaded = [Judge.load(judge, device="cpu") for judge in judges]
    labels = np.array([row["human_score"] for row in ROWS], dtype=float)
    expected = [spearman(np.array([grade.score for grade in judge.score(ROWS)]), labels) for judge in loaded]
    assert [row["spearman"]["value"] for row in rows] == pytest.approx(expected, abs=1e-6)
    assert rows[0]["lead"] is None
    assert rows[1]["lead"]["value"] == pytest.approx(expected[0] - expected[1], abs=1e-6)
    same = compare([("one", loaded[0]), ("other", loaded[0])], ROWS, resamples=20)
    assert [(row.lead.low, row.lead.high) for row in same if row.lead] == [(0, 0)] * 3  # all, and two criteria


def test_templates_are_compared(tiny_judge: Path, labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("{response}\n\n{rubric}")
    result = lager_evaluate(tiny_judge, labelled, "--templates", f"brief,{tmp_path / 'mine.txt'}")
    assert result.exit_code == 0, result.output
    assert "fp32, brief" in result.stdout
    judge = Judge.load(tiny_judge, device="cpu")
    assert judge.with_template("brief").score(ROWS[:1])[0].score == judge.score(ROWS[:1])[0].score
    assert judge.with_template(str(tmp_path / "mine.txt")).prompt(ROWS[0]) != judge.prompt(ROWS[0])


def test_what_cannot_be_compared(tiny_judge: Path, labelled: Path, tmp_path: Path) -> None:
    several = lager_evaluate(tiny_judge, tiny_judge, labelled, "--html", tmp_path / "page.html")
    assert several.exit_code == 2
    assert "one judge" in several.stderr
    assert "no template 'mine'" in lager_evaluate(tiny_judge, labelled, "--templates", "mine").stderr
    judge = Judge.load(tiny_judge, device="cpu")
    other = Judge.load(tiny_judge, device="cpu")
    other.spec = replace(other.spec, scale=replace(other.spec.scale, values=(0.0, 1.0, 2.0, 3.0, 6.0)))
    with pytest.raises(LabelError, match="wide grades on another scale than narrow"):
        compare([("narrow", judge), ("wide", other)], ROWS)
