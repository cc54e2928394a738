"""What every layer says of some responses, as one HTML page."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lager_onnx.analysis.inspect import describe
from lager_onnx.analysis.pages.html import page, plot, text
from lager_onnx.models.method import expected_score, softmax
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.grade import Grade


def inspect_page(spec: JudgeSpec, names: Sequence[str], grades: Sequence[Grade]) -> str:
    """The page: what the judge is, and for each response three plots of its layers.

    Args:
        spec: of the judge.
        names: what to call the responses.
        grades: of the responses.
    """
    sections = [("Judge", text(describe(spec)))]
    for name, grade in zip(names, grades, strict=True):
        sections.append((f"{name}: {grade.score:.3f}", plot(_layers(spec, grade))))
    return page(f"Inside {spec.source.checkpoint}", sections)


def _layers(spec: JudgeSpec, grade: Grade) -> Figure:
    """Probabilities of every layer alone; expected score layer by layer; what each adds to the final logits."""
    z, weights = grade.layer_logits.astype(np.float64), np.asarray(spec.layer_weights)
    probabilities = softmax(z)
    values = np.asarray(spec.scale.values)
    # Layers from the bottom up, those above left out; the whole sum at the end is the score.
    so_far = expected_score(softmax(np.cumsum(weights[:, None] * z, axis=0)), values)
    added = weights[:, None] * (z - z.mean(axis=-1, keepdims=True))  # what is common to all scores moves nothing
    figure = Figure(figsize=(12, 4.5))
    heat, line, contribution = figure.subplots(1, 3)
    image = heat.imshow(probabilities, aspect="auto", origin="lower", vmin=0, vmax=1, cmap="viridis")
    figure.colorbar(image, ax=heat)
    heat.set_title("probability by layer alone")
    line.plot(expected_score(probabilities, values), range(len(z)), label="layer alone")
    line.plot(so_far, range(len(z)), label="sum so far")
    line.set_title("expected score")
    line.legend()
    limit = np.abs(added).max() or 1.0
    image = contribution.imshow(added, aspect="auto", origin="lower", vmin=-limit, vmax=limit, cmap="RdBu_r")
    figure.colorbar(image, ax=contribution)
    contribution.set_title("added to the logits, mean taken out")
    for axes in (heat, contribution):
        axes.set_xticks(range(len(values)), spec.scale.labels)
        axes.set_ylabel("layer")
    return figure
