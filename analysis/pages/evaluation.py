"""An evaluation as one HTML page with plots."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from lager_onnx.analysis.evaluation.agreement import FIGURES, Agreement
from lager_onnx.analysis.evaluation.tables import notes
from lager_onnx.analysis.labels.labelled import Array, Labelled
from lager_onnx.analysis.labels.read import LabelledRecord
from lager_onnx.analysis.pages.html import page, plot, sentence, table, text
from lager_onnx.models.layers import LENSES
from lager_onnx.models.method import codes, ranks, spearman
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.models.values import is_missing
from lager_onnx.runtime.records.layouts import as_shown

_DISAGREEMENTS: Final = 10
_SHOWN: Final = 1500  # characters of a response
_BESIDE: Final[dict[str, Any]] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)}  # where no curve runs


def evaluation_page(
    spec: JudgeSpec, rows: Sequence[LabelledRecord], data: Labelled, agreements: Sequence[Agreement]
) -> str:
    """The page: figures, per-layer correlation, layer weights, histograms, scatter, largest disagreements.

    Args:
        spec: of the judge.
        rows: labelled records.
        data: their layer logits and labels.
        agreements: of all methods and parts.
    """
    stored = np.asarray(spec.layer_weights)
    scores = data.scores(stored)
    sections = [
        ("Agreement", _figures(agreements)),
        ("Layers", plot(_layers(data, stored))),
        ("Scores and labels", plot(_scores(data, scores))),
        ("Largest disagreements", _disagreements(rows, data, scores)),
    ]
    return page(f"{spec.source.checkpoint} on {len(rows)} labels", sections)


def _figures(agreements: Sequence[Agreement]) -> str:
    header = ["part", "records", "groups", "method", *FIGURES, "distinct scores", "LAGER leads by"]
    cells = [
        [row.part, row.records, row.groups, row.method, *row.figures.values(), row.distinct, row.lead or ""]
        for row in agreements
    ]
    return "\n".join([table(header, cells), *map(sentence, notes(agreements))])


def _layers(data: Labelled, stored: Array) -> Figure:
    single = [spearman(data.scores(weights), data.labels) for weights in np.eye(len(data.rows))]
    layers = len(data.rows) // len(LENSES)
    figure = Figure(figsize=(10, 5))
    above, below = figure.subplots(2, 1, sharex=True)
    for number, lens in enumerate(LENSES):
        part = slice(number * layers, (number + 1) * layers)
        above.plot(range(layers), single[part], marker=".", label=f"expectation of one layer, {lens}")
        below.bar(np.arange(layers) + 0.4 * number, stored[part], width=0.4, label=lens)
    above.axhline(spearman(data.scores(stored), data.labels), color="black", label="LAGER as stored")
    above.set_ylabel("Spearman")
    above.legend(**_BESIDE)
    below.set_ylabel("layer weight")
    below.set_xlabel("layer: 0 is the embedding")
    below.legend(**_BESIDE)
    return figure


def _scores(data: Labelled, scores: Array) -> Figure:
    figure = Figure(figsize=(10, 4))
    left, right = figure.subplots(1, 2)
    bins = np.linspace(data.values.min(), data.values.max(), 21).tolist()
    left.hist([data.labels, scores], bins=bins, label=["labels", "LAGER"])
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    left.set_xlabel("score")
    right.scatter(data.labels, scores, s=8, alpha=0.5)
    right.set_xlabel("label")
    right.set_ylabel("LAGER")
    return figure


def _disagreements(rows: Sequence[LabelledRecord], data: Labelled, scores: Array) -> str:
    """By ranks: a judge may be of another opinion on where the middle lies."""
    of_scores, of_labels = (ranks(codes(values)) for values in (scores, data.labels))
    worst = np.argsort(-np.abs(of_scores - of_labels))[:_DISAGREEMENTS]
    boxes = []
    for row in worst:
        record = as_shown(rows[row].record)
        texts = [record.get(name) for name in ("response", "prompt") if not is_missing(record.get(name))]
        shown = str(texts[0] if texts else "")[:_SHOWN]
        heading = f"{rows[row].where}: label {data.labels[row]:g}, LAGER {scores[row]:.2f}"
        boxes.append(text(f"{heading}\n{record.get('criterion', '')}\n\n{shown}"))
    return "\n".join(boxes)
