"""Tuning: gradients, optima, planted layers, and that few labels do no harm."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize
from scipy.special import softmax
from scipy.stats import norm

from lager_onnx.analysis.evaluation.evaluate import beside_baselines
from lager_onnx.analysis.evaluation.metrics import Resamples, mean_absolute_error, spearman_of_rows
from lager_onnx.analysis.labels.groups import group_folds
from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.analysis.tuning import Loss, fit, fit_as_the_paper, fit_regularised
from lager_onnx.analysis.tuning.loss import Distance
from lager_onnx.models.errors import LabelError
from lager_onnx.models.method import pearson, spearman

VALUES = np.arange(1.0, 6.0)


def planted(records: int, *, layers: int = 8, signal: tuple[int, ...] = (3,), seed: int = 0) -> Labelled:
    """A judge whose layers are noise, but for those with a signal: their logits prefer the label."""
    random = np.random.default_rng(seed)
    labels = random.integers(1, 6, records).astype(float)
    logits = random.normal(0, 3, (records, layers, len(VALUES)))
    for layer in signal:
        logits[:, layer] = -4 * np.abs(VALUES - labels[:, None]) + random.normal(0, 1, (records, len(VALUES)))
    return Labelled(logits, labels, VALUES)


@pytest.mark.parametrize("distance", ["mae", "mse", "correlation"])
@pytest.mark.parametrize(("alpha", "strength"), [(0.0, 0.0), (0.5, 0.0), (1.0, 0.3), (0.3, 2.0)])
def test_gradients_are_those_of_finite_differences(distance: Distance, alpha: float, strength: float) -> None:
    data, loss = planted(40), Loss(alpha=alpha, distance=distance, strength=strength)
    for seed in range(3):
        v = np.random.default_rng(seed).normal(0, 1, 8)
        error = check_grad(lambda v: loss(v, data)[0], lambda v: loss(v, data)[1], v)
        assert error < 1e-5


def test_the_loss_is_the_formula_of_the_method() -> None:
    data = planted(5)
    w = softmax(np.arange(8.0))
    expected = 0.0
    for z, label in zip((data.logits * w[:, None]).sum(axis=1), data.labels, strict=True):
        p = np.exp(z) / np.exp(z).sum()
        expected += (0.3 * -np.log(p[int(label) - 1]) + 0.7 * abs(p @ VALUES - label)) / 5
    assert Loss(alpha=0.3, distance="mae")(np.arange(8.0), data)[0] == pytest.approx(expected)


def test_the_third_distance_is_pearsons_correlation() -> None:
    data, w = planted(30), softmax(np.arange(8.0))
    loss, gradient = Loss()(np.arange(8.0), data)
    assert loss == pytest.approx(1 - pearson(data.scores(w), data.labels))
    same = Labelled(data.logits, np.full(30, 2.0), VALUES)  # as a small fold may be
    loss, gradient = Loss()(np.arange(8.0), same)
    assert loss == 1
    assert not gradient.any()


@pytest.mark.parametrize("distance", ["mae", "correlation"])
def test_the_optimum_is_a_second_optimisers_too(distance: Any) -> None:
    data, loss = planted(200, signal=(2, 5)), Loss(0.5, distance, strength=0.05)
    other = minimize(lambda v: loss(v, data)[0], np.zeros(8), method="Powell", options={"xtol": 1e-8, "ftol": 1e-12})
    np.testing.assert_allclose(fit(data, loss), softmax(other.x), atol=2e-3)


@pytest.mark.parametrize("distance", ["mae", "correlation"])
@pytest.mark.parametrize("signal", [(3,), (0, 6)])
def test_planted_layers_are_found(signal: tuple[int, ...], distance: Any) -> None:
    data = planted(400, signal=signal)
    weights = fit(data, Loss(0.5, distance, strength=0.01))
    assert set(np.argsort(weights)[-len(signal) :]) == set(signal)
    assert weights[list(signal)].sum() > 0.8
    fresh = planted(2000, signal=signal, seed=1)
    uniform = np.full(8, 1 / 8)
    assert spearman(fresh.scores(weights), fresh.labels) > spearman(fresh.scores(uniform), fresh.labels) + 0.02


def test_the_papers_recipe_goes_the_same_way_and_is_the_same_every_time() -> None:
    data = planted(1000)
    weights = fit_as_the_paper(data, alpha=0.622, distance="mse", epochs=2)
    assert weights.argmax() == 3
    np.testing.assert_array_equal(weights, fit_as_the_paper(data, alpha=0.622, distance="mse", epochs=2))


def test_a_strong_pull_leaves_the_weights_uniform() -> None:
    np.testing.assert_allclose(fit(planted(50), Loss(0.5, "mae", strength=1e4)), np.full(8, 1 / 8), atol=1e-3)


@pytest.mark.parametrize("wrong", [0.5, 5.5, np.nan])
def test_labels_out_of_scale_are_refused(wrong: float) -> None:
    data = planted(5)
    with pytest.raises(LabelError, match="from 1 to 5"):
        Labelled(data.logits, np.append(data.labels[:-1], wrong), VALUES)


def test_no_group_is_on_both_sides_of_a_fold() -> None:
    groups = [f"group {number % 23}" for number in range(100)]
    folds = group_folds(groups, 5)
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(100))
    for train, test in folds:
        assert not {groups[row] for row in train} & {groups[row] for row in test}
        assert len(train) + len(test) == 100
    with pytest.raises(LabelError, match="2 groups"):
        group_folds(["a", "b", "a"], 3)


def test_intervals_hold_the_figure_and_shrink_with_groups() -> None:
    random = np.random.default_rng(0)
    widths = []
    for number in (30, 300):
        labels = random.normal(size=number)
        scores = labels + random.normal(size=number)
        groups = [str(row // 3) for row in range(number)]
        found = Resamples.of_groups(groups, 300).sample(spearman_of_rows(scores, labels)).interval
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2
    assert mean_absolute_error(np.array([1.0, 3.0]), np.array([2.0, 3.0])) == 0.5


def gaussian_judge(records: int, signal: Array, noise: Array, *, seed: int) -> Labelled:
    """A judge of two scores whose layers' margins are signal * latent + noise * chance; labels rank as the latent does.

    The score grows with the margin sum_l w_l m_l, which is Gaussian together with the latent. So Spearman's rho is
    (6 / pi) asin(r / 2), with Pearson's r = w.a / sqrt((w.a)^2 + sum w^2 s^2).
    """
    random = np.random.default_rng(seed)
    latent = random.normal(size=records)
    margins = signal * latent[:, None] + noise * random.normal(size=(records, len(signal)))
    logits = np.stack([np.zeros_like(margins), margins], axis=-1)
    return Labelled(logits, norm.cdf(latent), np.array([0.0, 1.0]))


def analytic_spearman(weights: Array, signal: Array, noise: Array) -> float:
    mean, variance = weights @ signal, weights**2 @ noise**2
    return float(6 / np.pi * np.arcsin(mean / np.sqrt(mean**2 + variance) / 2))


@pytest.mark.parametrize("planted_at", [(4,), (1, 6)])
def test_the_evaluated_gain_is_the_analytic_one(planted_at: tuple[int, ...]) -> None:
    signal, noise = np.full(8, 0.3), np.full(8, 3.0)
    signal[list(planted_at)], noise[list(planted_at)] = 2.0, 1.0
    train = gaussian_judge(1000, signal, noise, seed=0)
    tuned = fit_regularised(train, [str(row) for row in range(1000)])
    uniform = train.uniform()
    assert set(np.argsort(tuned)[-len(planted_at) :]) == set(planted_at)
    best = signal / noise**2 / (signal / noise**2).sum()
    expected = analytic_spearman(tuned, signal, noise) - analytic_spearman(uniform, signal, noise)
    assert expected > 0.9 * (analytic_spearman(best, signal, noise) - analytic_spearman(uniform, signal, noise))
    fresh = gaussian_judge(16_000, signal, noise, seed=1)
    found = beside_baselines(fresh, [str(row) for row in range(16_000)], tuned, {}, resamples=50)
    (row,) = [row for row in found if row.method == "LAGER uniform"]
    assert row.lead is not None
    assert row.lead.low < expected < row.lead.high
    assert row.lead.value == pytest.approx(expected, abs=0.02)


def test_few_labels_move_the_weights_less_than_many() -> None:
    uniform, moved = np.full(8, 1 / 8), []
    for records in (20, 200, 2000):
        weights = fit_regularised(planted(records), [str(row) for row in range(records)])
        moved.append(np.abs(weights - uniform).sum())
        assert weights.argmax() == 3
    assert moved == sorted(moved)
    assert moved[0] < 0.1
    assert moved[-1] > 0.6
