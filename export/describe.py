"""What a judge will be, as far as the checkpoint says it."""

import logging
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lager_onnx.export.chat import render_wrapper
from lager_onnx.export.score_tokens import find_score_tokens
from lager_onnx.export.sources.source import Source
from lager_onnx.models.layers import Lens, parse_layers, uniform_weights
from lager_onnx.models.scale import Scale
from lager_onnx.models.spec import JudgeSpec, Origin, Writing
from lager_onnx.models.template import Template

logger = logging.getLogger(__name__)


def describe(
    source: Source,
    scale: Scale,
    template: Template,
    lens: Lens,
    layers: str,
    answer_prefix: str,
    *,
    writes: bool = False,
) -> JudgeSpec:
    """The spec of a checkpoint's float32 judge: its prompt, its score tokens, what it can read, whether it writes.

    Raises:
        CheckpointError: the chat template cannot be used.
        ScaleError: a label is not one token, or a layer is none of the checkpoint's.
    """
    wrapper = render_wrapper(source.chat, answer_prefix)
    wrapper, tokens, ids = find_score_tokens(source.backend, wrapper, scale)
    for note in wrapper.notes:
        logger.warning("    note: %s", note)
    num_layers = source.config.num_hidden_layers
    chosen = parse_layers(layers, num_layers)
    return JudgeSpec(
        scale=scale,
        score_tokens=tokens,
        score_token_ids=ids,
        num_layers=num_layers,
        layer_weights=uniform_weights(lens, chosen, num_layers),
        weights_origin=f"untuned: uniform over {len(chosen)} of {num_layers + 1} layers, lens {lens}",
        template=template,
        chat=wrapper,
        precision="fp32",
        context_length=_context_length(source),
        vocabulary=source.embedding[0],
        source=Origin(
            checkpoint=Path(source.name).name,
            architecture=source.architecture,
            model_type=source.config.model_type,
            commit=source.commit,
        ),
        versions=_package_versions(),
        writing=Writing(source.end_tokens()) if writes else None,
    )


def _context_length(source: Source) -> int:
    """Most tokens that the judge can read.

    LongRoPE turns *all* positions otherwise once a prompt is longer than the original context, which one table of
    angles cannot do; such a judge keeps to its original context.
    """
    scaling = getattr(source.config, "rope_scaling", None) or {}
    if "longrope" in (scaling.get("rope_type"), scaling.get("type")):
        name = "original_max_position_embeddings"
        original = scaling.get(name) or getattr(source.config, name, None) or source.config.max_position_embeddings
        logger.info("    prompts up to %d tokens: the longer context of LongRoPE is not supported", original)
        return int(original)
    return int(source.config.max_position_embeddings)


def _package_versions() -> dict[str, str]:
    """Versions of the packages that make a judge."""
    names = ("lager-onnx", "torch", "transformers", "optimum", "optimum-onnx", "onnx-ir", "onnxruntime")
    return {name: found for name in names if (found := _version(name))}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # an export from ONNX needs few of them
        return None
