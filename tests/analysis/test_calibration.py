"""Calibrated scores: learned lines, moved distributions, and the same inside the graph."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lager_onnx import Judge
from lager_onnx.analysis.labels.labelled import Labelled
from lager_onnx.analysis.tuning import fit_calibration, reweigh
from lager_onnx.analysis.tuning.calibrate import calibrated
from lager_onnx.analysis.tuning.learned import Learned
from lager_onnx.models.calibration import Calibration
from lager_onnx.models.errors import JudgeFolderError
from lager_onnx.models.method import calibrated_score, move, spearman
from lager_onnx.models.spec import JudgeSpec

VALUES = np.arange(1.0, 6.0)
CORNERS = Calibration((1.0, 2.9, 3.1, 5.0), (1.2, 2.0, 4.0, 4.9), "by hand")
RECORDS = [{"instruction": "Name a prime.", "response": "good bad " * number} for number in range(1, 7)]


def judged(records: int, *, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores near the middle of the scale, labels all over it, that rank alike but for noise."""
    random = np.random.default_rng(seed)
    latent = random.normal(size=records)
    scores = 3.2 + 0.05 * np.tanh(latent + noise * random.normal(size=records))
    return scores, np.clip(np.round(3 + 1.5 * latent), 1, 5), [str(row // 2) for row in range(records)]


@pytest.mark.parametrize("records", [80, 200, 1000])
def test_calibrated_scores_miss_labels_less_than_scores_and_their_median_do(records: int) -> None:
    scores, labels, groups = judged(records, noise=0.5)
    corners = fit_calibration(scores, labels, groups, VALUES)
    fresh, expected, _ = judged(4000, noise=0.5, seed=1)
    error = np.abs(calibrated_score(fresh, corners) - expected).mean()
    assert error < 0.8 * np.abs(expected - np.median(labels)).mean()
    assert error < np.abs(expected - fresh).mean()
    assert spearman(calibrated_score(fresh, corners), expected) == pytest.approx(spearman(fresh, expected))


def test_more_labels_allow_more_corners() -> None:
    counts = []
    for records in (60, 400, 4000):
        scores, labels, groups = judged(records, noise=0.1)
        counts.append(len(fit_calibration(scores, labels, groups, VALUES).scores))
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (5, 11)  # two corners, or eight; the scores' median, and the ends of the scale


def test_scores_that_say_nothing_lead_to_the_median() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.uniform(3, 3.1, 100), random.choice([2.0, 4.0, 4.0, 5.0], 100)
    corners = fit_calibration(scores, labels, [str(row) for row in range(100)], VALUES)
    assert np.abs(calibrated_score(scores, corners) - np.median(labels)).max() < 0.002
    assert spearman(calibrated_score(scores, corners), scores) == pytest.approx(1)
    same = fit_calibration(np.full(20, 3.0), labels[:20], [str(row) for row in range(20)], VALUES)
    assert calibrated_score(np.array([3.0]), same)[0] == pytest.approx(np.median(labels[:20]), abs=0.002)


def test_weights_that_fit_noise_lead_to_the_median() -> None:
    """On the labels that they were learned from they look good; on others they say nothing."""

    def least_squares(data: Labelled, _groups: Sequence[str]) -> np.ndarray:
        found: np.ndarray = np.linalg.lstsq(data.logits @ (VALUES - 3), data.labels - 3, rcond=None)[0]
        return 0.02 * found / np.abs(found).max()

    medians = 0
    for seed in range(12):
        random = np.random.default_rng(seed)
        data = Labelled(random.normal(size=(80, 40, 5)), random.integers(1, 6, 80).astype(float), VALUES)
        groups = [str(row) for row in range(80)]
        weights = least_squares(data, groups)
        assert spearman(data.scores(weights), data.labels) > 0.5
        learned = calibrated(Learned(weights, fit=least_squares), data, groups)
        assert learned.calibration
        medians += np.ptp(learned.calibration.labels[1:-1]) < 0.01
    assert medians >= 11  # one of forty beats it by two standard errors by chance


@pytest.mark.parametrize("middle", [1.0, 1.001, 3.0, 5.0])
@pytest.mark.parametrize("label", [1.0, 3.0, 5.0])
def test_calibrations_rise_wherever_scores_and_labels_lie(middle: float, label: float) -> None:
    scores = np.clip(np.linspace(middle - 0.1, middle + 0.1, 41), 1, 5)
    corners = fit_calibration(scores, np.full(41, label), [str(row) for row in range(41)], VALUES)
    corners.check(1, 5)
    assert np.abs(calibrated_score(scores, corners) - label).max() < 0.005


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0.001, 1), min_size=4, max_size=4),
    st.lists(st.floats(-3, 12), min_size=4, max_size=4, unique=True),
    st.floats(0, 1),
)
def test_a_moved_distribution_is_one_with_the_wanted_mean(
    weights: list[float], values: list[float], share: float
) -> None:
    p, v = np.array([weights]) / sum(weights), np.array(values)
    if np.diff(np.sort(v)).min() < 1e-3:
        return
    wanted = np.array([v.min() + share * np.ptp(v)])
    moved = move(p, v, wanted)
    assert moved.min() >= 0
    assert moved.sum() == pytest.approx(1, abs=1e-6)
    assert moved @ v == pytest.approx(wanted, abs=1e-5 * (1 + np.abs(v).max()))
    np.testing.assert_allclose(move(p, v, p @ v), p, atol=1e-6)  # nowhere to go: as it was


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_the_graph_computes_the_formulas(precision: str, tiny_judges: dict[str, Path], tmp_path: Path) -> None:
    spec = JudgeSpec.load(tiny_judges[precision])
    reweigh(tiny_judges[precision], spec.layer_weights, "as before", calibration=CORNERS, target=tmp_path / "judge")
    plain, got = (
        Judge.load(path, device="cpu").score(RECORDS) for path in (tiny_judges[precision], tmp_path / "judge")
    )
    scores, p = np.array([grade.score for grade in plain]), np.stack([grade.distribution for grade in plain])
    expected = calibrated_score(scores, CORNERS)
    assert np.abs(expected - scores).max() > 0.2
    np.testing.assert_allclose([grade.score for grade in got], expected, atol=1e-5)
    np.testing.assert_allclose([grade.distribution for grade in got], move(p, VALUES, expected), atol=1e-5)
    for one, other in zip(plain, got, strict=True):
        assert other.score == pytest.approx(float(other.distribution @ VALUES), abs=1e-5)
        np.testing.assert_array_equal(other.layer_logits, one.layer_logits)
    assert (tmp_path / "judge" / "model.onnx_data").samefile(tiny_judges[precision] / "model.onnx_data")


def test_a_calibration_is_replaced_and_taken_out(tiny_judge: Path, tmp_path: Path) -> None:
    spec = JudgeSpec.load(tiny_judge)
    reweigh(tiny_judge, spec.layer_weights, "one", calibration=CORNERS, target=tmp_path / "judge")
    again = Calibration((1.0, 5.0), (2.0, 3.0), "other")
    reweigh(tmp_path / "judge", spec.layer_weights, "two", calibration=again)
    plain = np.array([grade.score for grade in Judge.load(tiny_judge, device="cpu").score(RECORDS)])
    got = np.array([grade.score for grade in Judge.load(tmp_path / "judge", device="cpu").score(RECORDS)])
    np.testing.assert_allclose(got, 2 + (plain - 1) / 4, atol=1e-5)
    reweigh(tmp_path / "judge", spec.layer_weights, "three")
    assert JudgeSpec.load(tmp_path / "judge").calibration is None
    got = np.array([grade.score for grade in Judge.load(tmp_path / "judge", device="cpu").score(RECORDS)])
    np.testing.assert_array_equal(got, plain)
    graphs = [ir.load(folder / "model.onnx").graph for folder in (tiny_judge, tmp_path / "judge")]
    assert [node.op_type for node in graphs[0]] == [node.op_type for node in graphs[1]]


@pytest.mark.parametrize(
    "edit", [{"scores": [1, 2, 2, 5]}, {"labels": [1.2, 2.0, 1.0, 4.9]}, {"scores": [1, 5]}, {"scores": [0, 2, 3, 5]}]
)
def test_a_calibration_that_is_none_is_refused(edit: dict[str, list[float]], tiny_judge: Path, tmp_path: Path) -> None:
    spec = JudgeSpec.load(tiny_judge)
    reweigh(tiny_judge, spec.layer_weights, "as before", calibration=CORNERS, target=tmp_path / "judge")
    path = tmp_path / "judge" / "judge.json"
    content = json.loads(path.read_text())
    content["calibration"] |= edit
    path.unlink()
    path.write_text(json.dumps(content))
    with pytest.raises(JudgeFolderError, match="calibration"):
        Judge.load(tmp_path / "judge", device="cpu")
