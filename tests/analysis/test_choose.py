"""Choosing among lenses, layers and learned weights: what was planted is found, and chance is not."""

import numpy as np
import pytest

from lager_onnx.analysis.labels.labelled import Labelled
from lager_onnx.analysis.tuning.choices import CHOICES
from lager_onnx.analysis.tuning.choose import choose, left_out_ranks
from lager_onnx.models.method import spearman

VALUES = np.arange(1.0, 6.0)
LAYERS = 12  # and the embedding: 26 rows


def planted(records: int, rows: list[int], *, seed: int = 0) -> tuple[Labelled, list[str]]:
    """A judge whose rows are noise, but for some that prefer the label."""
    random = np.random.default_rng(seed)
    labels = random.integers(1, 6, records).astype(float)
    logits = random.normal(0, 3, (records, 2 * (LAYERS + 1), len(VALUES)))
    for row in rows:
        logits[:, row] = -1.5 * np.abs(VALUES - labels[:, None]) + random.normal(0, 1, (records, len(VALUES)))
    return Labelled(logits, labels, VALUES), [str(row // 2) for row in range(records)]


@pytest.mark.parametrize("records", [50, 300])
@pytest.mark.parametrize(("rows", "lens"), [([4, 5, 6], "raw"), ([LAYERS + 1 + row for row in (7, 8, 9)], "norm")])
def test_layers_and_lens_are_found_and_hold_on_fresh_records(rows: list[int], lens: str, records: int) -> None:
    data, groups = planted(records, rows)
    found = choose(data, groups)
    if records == 300:
        assert found.how == ("a band of layers" if lens == "raw" else "a band of layers, norm")
        assert set(np.flatnonzero(found.weights)) == set(rows)
        assert found.leads[found.how].low > 0
    fresh, _ = planted(2000, rows, seed=1)
    gain = spearman(fresh.scores(found.weights), fresh.labels) - spearman(fresh.scores(fresh.uniform()), fresh.labels)
    assert gain > (0.1 if records == 300 else -0.01)


def test_where_nothing_is_known_uniform_weights_mostly_stay() -> None:
    kept = []
    for seed in range(20):
        data, groups = planted(120, [], seed=seed)
        kept.append(choose(data, groups).how == "uniform")
    assert sum(kept) >= 16


def test_where_all_layers_know_the_same_nothing_is_lost() -> None:
    data, groups = planted(200, list(range(2 * (LAYERS + 1))))
    found = choose(data, groups)
    fresh, _ = planted(2000, list(range(2 * (LAYERS + 1))), seed=1)
    before, after = (spearman(fresh.scores(weights), fresh.labels) for weights in (fresh.uniform(), found.weights))
    assert after > before - 0.01


def test_ranks_are_of_records_that_were_not_learned_from() -> None:
    data, groups = planted(100, [])
    for choice in CHOICES:  # layers that are picked by chance know nothing of the rest
        assert abs(spearman(left_out_ranks(data, groups, choice.fit), data.labels)) < 0.35, choice.name


def test_too_few_groups_are_left_uniform() -> None:
    data, groups = planted(20, [4, 5, 6])
    assert choose(data, ["one" if int(group) % 2 else "other" for group in groups]).how == "uniform"
