"""How well methods agree with people, with intervals, over all records and over parts of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import numpy as np
from tqdm import tqdm

from lager_onnx.analysis.evaluation import metrics
from lager_onnx.analysis.evaluation.methods import Method
from lager_onnx.analysis.evaluation.metrics import Interval, Resamples
from lager_onnx.analysis.labels.groups import Rows
from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.analysis.labels.overlap import Overlap
from lager_onnx.models.method import pearson

Figure = Callable[[Method, Labelled], Callable[[Rows], float]]  # prepared once, for many resamples of the rows


def _plain(figure: Callable[[Method, Array, Array], float]) -> Figure:
    """A figure of a method, labels and the scale's values; resamples need no layer logits."""
    return lambda method, data: lambda rows: figure(method.at(rows), data.labels[rows], data.values)


FIGURES: Final[dict[str, Figure]] = {
    "spearman": lambda method, data: metrics.spearman_of_rows(method.scores, data.labels),
    "pearson": _plain(lambda method, labels, _: pearson(method.scores, labels)),
    "kendall": _plain(lambda method, labels, _: metrics.kendall(method.scores, labels)),
    "mae": _plain(lambda method, labels, _: metrics.mean_absolute_error(method.scores, labels)),
    "kappa": _plain(lambda method, labels, values: metrics.weighted_kappa(method.scores, labels, values)),
    "ece": _plain(lambda method, labels, values: metrics.calibration_error(method.probabilities, labels, values)),
}


class Seen(Protocol):
    """How many of some records a method was tuned or calibrated on; None for none."""

    def __call__(self, name: str, rows: Rows) -> Overlap | None:
        """Return it by the method's name and the records' numbers, (rows,)."""


def nothing_seen(name: str, rows: Rows) -> Overlap | None:  # noqa: ARG001 - a `Seen`
    """Return None: no method was tuned."""
    return None


@dataclass(frozen=True)
class Agreement:
    """One method on one part of the records.

    Attributes:
        part: "all", or a field and its value, such as "criterion=fluency".
        records: how many.
        groups: how many; with fewer than `LEAST_GROUPS`, figures have no interval.
        method: its name.
        figures: of `FIGURES`, with intervals.
        distinct: number of different scores; those that differ by noise alone count as one.
        lead: Spearman of the method that leads the table less this one's, on the same resamples; None for itself.
        seen: how much of the part the method was tuned or calibrated on; None for nothing.
    """

    part: str
    records: int
    groups: int
    method: str
    figures: dict[str, Interval]
    distinct: int
    lead: Interval | None
    seen: Overlap | None = None


def agreements(
    methods_of: Callable[[Rows], list[Method]],
    data: Labelled,
    groups: Sequence[str],
    parts: Mapping[str, Sequence[str]],
    *,
    leader: str,
    resamples: int = 1000,
    seen: Seen = nothing_seen,
) -> list[Agreement]:
    """Compares methods with the labels, over all records and over every part of them.

    Args:
        methods_of: what the methods say of some of the records.
        data: the records; only `at` and the labels matter here.
        groups: of every record; intervals resample whole groups.
        parts: for each field to split by, its value in every record; fields with one value only are passed over.
        leader: name of the method that others are compared with.
        resamples: of the bootstrap.
        seen: how many of some records a method was tuned or calibrated on.
    """
    every = np.arange(len(data.labels))
    rows = {"all": every}
    for field, values in parts.items():
        named = np.asarray(values)
        if len(set(values)) > 1:
            rows |= {f"{field}={value}": every[named == value] for value in sorted(set(values))}
    found = []
    for part, chosen in tqdm(rows.items(), unit=" parts", disable=None, leave=False):
        of_part = [groups[int(row)] for row in chosen]
        drawn = Resamples.of_groups(of_part, resamples)
        some = data.at(chosen)
        known = partial(seen, rows=chosen)
        found += _compare(part, len(set(of_part)), methods_of(chosen), some, drawn, leader, known)
    return found


def _compare(
    part: str,
    groups: int,
    methods: Sequence[Method],
    data: Labelled,
    resamples: Resamples,
    leader: str,
    seen: Callable[[str], Overlap | None],
) -> list[Agreement]:
    sampled = {
        method.name: {name: resamples.sample(figure(method, data)) for name, figure in FIGURES.items()}
        for method in methods
    }
    found = []
    for method in methods:
        figures = {name: figure.interval for name, figure in sampled[method.name].items()}
        ahead = (sampled[leader]["spearman"] - sampled[method.name]["spearman"]).interval
        lead = None if method.name == leader else ahead
        distinct = len(np.unique(method.scores))
        found.append(Agreement(part, len(data.labels), groups, method.name, figures, distinct, lead, seen(method.name)))
    return found
