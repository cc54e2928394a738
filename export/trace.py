"""Traces a decoder with optimum, with a head that knows the score tokens only."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import onnx_ir as ir
import torch
from optimum.exporters.onnx import export
from optimum.exporters.onnx.base import OnnxConfig
from optimum.exporters.onnx.model_configs import LlamaOnnxConfig
from optimum.exporters.tasks import TasksManager
from transformers import PreTrainedModel

from lager_onnx.export.experts import dense_experts
from lager_onnx.export.steps import foreign_errors
from lager_onnx.models.errors import CheckpointError, ExportError

logger = logging.getLogger(__name__)

OPSET = 18


def trace(model: PreTrainedModel, score_token_ids: tuple[int, ...], folder: Path) -> ir.Model:
    """The decoder's ONNX graph, as optimum traces it (TorchScript path, no past).

    The unembedding is cut down to the K rows of the score tokens *before* tracing: a matrix of
    (vocabulary, hidden) and logits of (batch, sequence, vocabulary) never exist in the graph, nor on disk.
    Whatever the checkpoint does to its logits afterwards (bias, scaling, soft cap) is traced as it is.

    Args:
        model: float32 decoder in eval mode; it is left as it was.
        score_token_ids: ids of the K score tokens.
        folder: where the traced file is written; the returned model reads its weights from there.
    """
    failed = foreign_errors(ExportError, f"cannot trace {type(model).__name__}")
    with failed, _score_rows_only(model, score_token_ids), dense_experts(model), _quiet():
        config = _onnx_config(model)
        export(model, config, folder / "traced.onnx", opset=OPSET, disable_dynamic_axes_fix=True)
    return ir.load(folder / "traced.onnx")


def _onnx_config(model: PreTrainedModel) -> OnnxConfig:
    kind = model.config.model_type
    if kind in TasksManager.get_supported_model_type_for_task("text-generation", exporter="onnx"):
        make = TasksManager.get_exporter_config_constructor("onnx", model=model, task="text-generation")
        return make(model.config, use_past=False)
    # Without a past, the inputs and outputs of all decoders are alike; verification decides whether it worked.
    logger.warning("optimum does not know the model type %r: tracing it as a Llama-like decoder", kind)
    return LlamaOnnxConfig(model.config, task="text-generation", use_past=False)


@contextmanager
def _score_rows_only(model: PreTrainedModel, score_token_ids: tuple[int, ...]) -> Iterator[None]:
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear):
        raise CheckpointError(f"{type(model).__name__} has no linear unembedding (lm_head) to read score rows from")
    rows = torch.nn.Linear(head.in_features, len(score_token_ids), bias=head.bias is not None)
    rows.weight = torch.nn.Parameter(head.weight[list(score_token_ids)].float(), requires_grad=False)
    if head.bias is not None:
        rows.bias = torch.nn.Parameter(head.bias[list(score_token_ids)].float(), requires_grad=False)
    model.set_output_embeddings(rows)
    try:
        yield
    finally:
        model.set_output_embeddings(head)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the tracer's remarks on Python branches: verification tells whether one mattered."""
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "optimum", "optimum.exporters")]
    levels = [log.level for log in noisy]
    # Of a graph that cannot be exported, the tracer would print every node.
    with warnings.catch_warnings(), patch.object(torch._C, "_jit_onnx_log", lambda *_: None):
        warnings.simplefilter("ignore")
        for log in noisy:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(noisy, levels, strict=True):
                log.setLevel(level)
