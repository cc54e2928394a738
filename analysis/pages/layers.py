"""What every layer says of some responses, as one HTML page."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from lager_onnx.analysis.inspect import describe
from lager_onnx.analysis.pages.html import page, plot, text, texts
from lager_onnx.models.layers import LENSES
from lager_onnx.models.method import Array, expected_score, softmax
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.grade import Grade
from lager_onnx.runtime.jobs.results import strict_json
from lager_onnx.runtime.records.layouts import as_shown

_SHOWN: Final = 700  # characters of a text that are shown at once
_LABEL: Final = 14  # characters of a choice under its column
# What a judge reads, in the order in which people do; other fields are read by templates of one's own.
_FIELDS: Final = (
    "criterion", "rubric", "question", "choices", "levels", "instruction", "context", "reference", "text", "response",
    "prompt", "feedback",
)  # fmt: skip


def inspect_page(
    spec: JudgeSpec, names: Sequence[str], records: Sequence[Mapping[str, Any]], grades: Sequence[Grade]
) -> str:
    """Return the page: what the judge is, and for each response its texts and four plots of its layers.

    Args:
        spec: of the judge.
        names: what to call the responses.
        records: with the fields that the judge reads.
        grades: of the responses.
    """
    sections = [("Judge", text(describe(spec)))]
    for name, record, grade in zip(names, records, grades, strict=True):
        said = f"{grade.choice} ({grade.confidence:.2f} sure)" if grade.choices else f"{grade.score:.3f}"
        sections.append((f"{name}: {said}", texts(_texts(spec, record), _SHOWN) + plot(_layers(spec, grade))))
    return page(f"Inside {spec.source.checkpoint}", sections)


def _texts(spec: JudgeSpec, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that a judge reads, by name, without those that are missing."""
    known, shown = dict.fromkeys((*_FIELDS, *sorted(spec.template.fields))), as_shown(record)
    given = {name: shown[name] for name in known if shown.has(name)}
    return {name: value if isinstance(value, str) else strict_json(value) for name, value in given.items()}


def _layers(spec: JudgeSpec, grade: Grade) -> Figure:
    """Probabilities of every layer alone; expected score layer by layer; what each adds to the final logits."""
    asked = len(grade.distribution)  # a question has fewer answers than the judge has scores
    z, weights = grade.layer_logits[:, :asked].astype(np.float64), np.asarray(spec.layer_weights)
    # (lens, layer, answers asked for)
    weighted, alone = (each.reshape(len(LENSES), -1, asked) for each in (weights[:, None] * z, softmax(z)))
    # Layers from the bottom up, those above left out; the whole sum at the end is the score.
    so_far = softmax(np.cumsum(weighted.sum(axis=0), axis=0))
    added = (weighted - weighted.mean(axis=-1, keepdims=True)).sum(axis=0)  # what all scores share moves nothing
    layers = range(spec.num_layers + 1)
    figure = Figure(figsize=(17, 4.8), layout="constrained")
    *heats, line, contribution = figure.subplots(1, 4)
    for lens, heat, probabilities in zip(LENSES, heats, alone, strict=True):
        image = heat.imshow(probabilities, aspect="auto", origin="lower", vmin=0, vmax=1, cmap="viridis")
        figure.colorbar(image, ax=heat)
        heat.set_title(f"probability by layer alone, {lens}")
        line.plot(_told(grade, probabilities), layers, label=f"layer alone, {lens}")
    line.plot(_told(grade, so_far), layers, label="sum so far", color="black")
    line.set_title(f"probability of {_short(grade.choice)}" if grade.choice is not None else "expected score")
    line.set_ylabel("layer")
    line.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)  # no curve runs below the axes
    limit = np.abs(added).max() or 1.0
    image = contribution.imshow(added, aspect="auto", origin="lower", vmin=-limit, vmax=limit, cmap="RdBu_r")
    figure.colorbar(image, ax=contribution)
    contribution.set_title("added to the logits, mean taken out")
    answers = [_short(answer) for answer in grade.choices or grade.scale.labels]
    for axes in (*heats, contribution):
        axes.set_xticks(range(asked), answers, rotation=30 if grade.choices else 0)
        axes.set_ylabel("layer")
    return figure


def _told(grade: Grade, probabilities: Array) -> Array:
    """Return the expected score of distributions (layers, answers), or the probability of the judge's choice."""
    if grade.choice is not None:
        return probabilities[:, grade.choices.index(grade.choice)]
    return expected_score(probabilities, np.asarray(grade.scale.values))


def _short(answer: str) -> str:
    """Return an answer for a plot, where text between two dollars would be a formula."""
    cut = answer if len(answer) <= _LABEL else f"{answer[: _LABEL - 1]}…"
    return cut.replace("\n", " ").replace("$", r"\$")
