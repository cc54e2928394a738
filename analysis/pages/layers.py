"""What every layer says of some responses, as one HTML page."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lager_onnx.analysis.inspect import describe
from lager_onnx.analysis.pages.html import page, plot, text
from lager_onnx.models.layers import LENSES
from lager_onnx.models.method import expected_score, softmax
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.grade import Grade


def inspect_page(spec: JudgeSpec, names: Sequence[str], grades: Sequence[Grade]) -> str:
    """The page: what the judge is, and for each response four plots of its layers.

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
    # (lens, layer, K)
    weighted, alone = ((each).reshape(len(LENSES), -1, z.shape[-1]) for each in (weights[:, None] * z, softmax(z)))
    values = np.asarray(spec.scale.values)
    # Layers from the bottom up, those above left out; the whole sum at the end is the score.
    so_far = expected_score(softmax(np.cumsum(weighted.sum(axis=0), axis=0)), values)
    added = (weighted - weighted.mean(axis=-1, keepdims=True)).sum(axis=0)  # what all scores share moves nothing
    layers = range(spec.num_layers + 1)
    figure = Figure(figsize=(16, 4.5))
    *heats, line, contribution = figure.subplots(1, 4)
    for lens, heat, probabilities in zip(LENSES, heats, alone, strict=True):
        image = heat.imshow(probabilities, aspect="auto", origin="lower", vmin=0, vmax=1, cmap="viridis")
        figure.colorbar(image, ax=heat)
        heat.set_title(f"probability by layer alone, {lens}")
        line.plot(expected_score(probabilities, values), layers, label=f"layer alone, {lens}")
    line.plot(so_far, layers, label="sum so far")
    line.set_title("expected score")
    line.legend()
    limit = np.abs(added).max() or 1.0
    image = contribution.imshow(added, aspect="auto", origin="lower", vmin=-limit, vmax=limit, cmap="RdBu_r")
    figure.colorbar(image, ax=contribution)
    contribution.set_title("added to the logits, mean taken out")
    for axes in (*heats, contribution):
        axes.set_xticks(range(len(values)), spec.scale.labels)
        axes.set_ylabel("layer")
    return figure
