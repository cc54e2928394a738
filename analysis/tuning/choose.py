"""Chooses how to weigh rows, by what each way brings on responses that it has not seen."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from lager_onnx.analysis.evaluation.metrics import LEAST_GROUPS, Interval, Resamples, spearman_of_rows
from lager_onnx.analysis.labels.groups import group_folds
from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.analysis.tuning.choices import CHOICES, Choice
from lager_onnx.analysis.tuning.learned import Learned
from lager_onnx.analysis.tuning.recipes import Fit
from lager_onnx.models.method import codes, ranks

_FOLDS: Final = 5
_RESAMPLES: Final = 200
# Standard errors by which a way must lead uniform weights: one time in twenty, one of six does so by chance.
_SURE: Final = 2.5


def choose(data: Labelled, groups: Sequence[str], choices: Sequence[Choice] = CHOICES) -> Learned:
    """Takes the way that leads the first one, uniform weights, by most, if that can be told from chance.

    Every way is learned on four of five folds and ranks the responses of the fifth; ranks, since ways that differ from
    fold to fold give scores of other sizes. With fewer than `LEAST_GROUPS` groups nothing can be told from chance, and
    the first is taken.

    Args:
        data: layer logits and labels.
        groups: of every record.
        choices: ways, the one first that is kept where nothing is better.
    """
    first = choices[0]
    if len(set(groups)) < LEAST_GROUPS:
        return Learned(first.fit(data, groups), how=first.name, fit=first.fit)
    resamples = Resamples.of_groups(groups, _RESAMPLES)
    sampled = {
        choice.name: resamples.sample(spearman_of_rows(left_out_ranks(data, groups, choice.fit), data.labels))
        for choice in choices
    }
    best, most = first, 0.0
    leads: dict[str, Interval] = {}
    for choice in choices[1:]:
        lead = sampled[choice.name] - sampled[first.name]
        leads[choice.name] = lead.interval
        if lead.value > most and lead.value > _SURE * lead.error:
            best, most = choice, lead.value
    return Learned(best.fit(data, groups), how=best.name, leads=leads, fit=best.fit)


def left_out_ranks(data: Labelled, groups: Sequence[str], fit: Fit, folds: int = _FOLDS, *, seed: int = 0) -> Array:
    """Ranks of records among those of their fold, 0 to 1, under weights that were learned without it, (records,)."""
    found = np.empty(len(data.labels))
    for train, test in group_folds(groups, folds, seed=seed):
        weights = fit(data.at(train), [groups[row] for row in train])
        found[test] = ranks(codes(data.at(test).scores(weights))) / len(test)
    return found
