"""A traced decoder becomes a float32 judge: all passes, in their order."""

import logging

import onnx_ir as ir

from lager_onnx.export.decoder.locate import Anatomy, locate
from lager_onnx.export.decoder.products import record_roles
from lager_onnx.export.passes.adopt_attention import AdoptAttentionPass, fused_attentions
from lager_onnx.export.passes.cache import CachePass
from lager_onnx.export.passes.fuse_attention import FuseAttentionPass, can_fuse, can_turn
from lager_onnx.export.passes.fuse_norm import FuseNormPass
from lager_onnx.export.passes.merge_projections import MergeProjectionsPass
from lager_onnx.export.passes.next_token import NextTokenPass
from lager_onnx.export.passes.positions import PositionsPass
from lager_onnx.export.passes.prune_last_layer import PruneLastLayerPass, can_prune
from lager_onnx.export.passes.run import run_passes
from lager_onnx.export.passes.score_head import ScoreHeadPass
from lager_onnx.export.passes.simplify import remove_unused, simplify
from lager_onnx.export.sources.source import Source
from lager_onnx.models.attention import Attention
from lager_onnx.models.errors import ExportError
from lager_onnx.models.families import family_of
from lager_onnx.models.families.base import Family
from lager_onnx.models.spec import JudgeSpec

logger = logging.getLogger(__name__)


def rewrite(graph: ir.Model, spec: JudgeSpec, source: Source) -> None:
    """Turns the traced graph into the float32 judge's, in place.

    Raises:
        ExportError: a pass does not find what it expects.
    """
    simplify()(graph)
    anatomy = locate(graph, spec.num_layers)
    record_roles(graph.graph, anatomy)
    family = _family(anatomy, source)
    attentions: list[Attention] = []
    if family is not None:  # only a family knows its attention's numbers
        attentions = [family.attention(source.config, layer) for layer in range(spec.num_layers)]
    fusable = can_fuse(attentions) and can_turn(source.rotary_tables(1))
    if spec.writing and not (fused_attentions(graph.graph) or fusable):
        raise ExportError(f"no reasoning: the attention of {source.architecture} keeps nothing of what it has read")
    pruned = can_prune(anatomy)
    passes: list[ir.passes.PassBase] = [
        PositionsPass(),
        ScoreHeadPass(anatomy, layer_weights=spec.layer_weights, values=spec.scale.values, pruned=pruned),
        simplify(),
        *([NextTokenPass(anatomy, *source.unembedding())] if spec.writing else []),
        FuseNormPass(),
        MergeProjectionsPass(),
        CachePass(attentions),
        remove_unused(),
    ]
    if pruned:
        passes.insert(0, PruneLastLayerPass(anatomy))
    if fused_attentions(graph.graph):
        if not can_fuse(attentions):
            raise ExportError(f"the attention of {source.architecture} is fused already, in a way that is not known")
        passes.insert(0, AdoptAttentionPass(attentions))
    elif fusable:
        tables = source.rotary_tables(spec.context_length)
        passes.insert(0, FuseAttentionPass(list(anatomy.attention_outputs), attentions, tables))
    run_passes(graph, *passes)


def _family(anatomy: Anatomy, source: Source) -> Family | None:
    """The checkpoint's family, if it is a known one and the graph is what it says."""
    family = family_of(source.architecture)
    if family is None:
        logger.warning(
            "%s is not one of the tested families: the judge is kept only if it agrees with %s",
            source.architecture, source.oracle,
        )  # fmt: skip
        return None
    neutral = family.neutral_ops(source.config)
    for what, seen, expected in (
        ("the embedding", anatomy.embedding_ops, family.embedding_ops(source.config)),
        ("the unembedding", anatomy.head_ops, family.head_ops(source.config)),
    ):
        if tuple(op for op in seen if op not in neutral) != expected:
            raise ExportError(f"after {what} the graph has {seen}, {source.architecture} should have {expected}")
    return family
