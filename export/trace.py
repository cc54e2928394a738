"""Traces a decoder with optimum, with a head that knows the score tokens only."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from optimum.exporters.onnx import export
from optimum.exporters.onnx.base import OnnxConfig
from optimum.exporters.onnx.model_configs import LlamaOnnxConfig
from optimum.exporters.tasks import TasksManager
from torch.onnx._internal.torchscript_exporter import utils as tracer
from transformers import PreTrainedModel

from lager_onnx.export.experts import dense_experts
from lager_onnx.export.sources.tensors import Tensors
from lager_onnx.export.steps import foreign_errors
from lager_onnx.export.weights import Weight
from lager_onnx.models.errors import CheckpointError, ExportError

logger = logging.getLogger(__name__)

OPSET: Final = 18
_INPUTS: Final = ("input_ids", "attention_mask", "position_ids")
_TRACED: Final = {"batch_size": 2, "sequence_length": 4}


def trace(model: PreTrainedModel, tensors: Tensors, score_token_ids: tuple[int, ...], folder: Path) -> ir.Model:
    """The decoder's ONNX graph, as optimum traces it (TorchScript path, no past), without its weights.

    The tracer leaves parameters as inputs of the graph, under their names in the model. They become initializers that
    are read from the checkpoint when they are written.

    The unembedding is cut down to the K rows of the score tokens *before* tracing: a matrix of
    (vocabulary, hidden) and logits of (batch, sequence, vocabulary) never exist in the graph, nor on disk.
    Whatever the checkpoint does to its logits afterwards (bias, scaling, soft cap) is traced as it is.

    Args:
        model: decoder in eval mode, whose parameters need no numbers; it is left as it was.
        tensors: under the names of the model's parameters.
        score_token_ids: ids of the K score tokens.
        folder: where the traced file is written.
    """
    failed = foreign_errors(ExportError, f"cannot trace {type(model).__name__}")
    with (
        failed,
        _score_rows_only(model, tensors, score_token_ids) as score_rows,
        dense_experts(model),
        _without_weights(),
        _quiet(),
    ):
        export(
            model,
            _onnx_config(model),
            folder / "traced.onnx",
            opset=OPSET,
            disable_dynamic_axes_fix=True,
            do_constant_folding=False,  # it would make every weight to transpose it
            input_shapes=_TRACED,
        )
        graph = ir.load(folder / "traced.onnx")
        (folder / "traced.onnx").unlink()
    _attach(graph.graph, tensors, score_rows)
    return graph


@contextmanager
def _without_weights() -> Iterator[None]:
    """Lets the tracer leave parameters as inputs: with their names, and nothing else of them."""
    named = partial(torch.onnx.export, export_params=False, keep_initializers_as_inputs=True)
    # To learn a parameter's shape, it would write all of it into a protobuf.
    unread = partial(tracer._export, onnx_shape_inference=False)
    with patch.object(torch.onnx, "export", named), patch.object(tracer, "_export", unread):
        yield


def _attach(graph: ir.Graph, tensors: Tensors, score_rows: dict[str, torch.Tensor]) -> None:
    """Parameters become initializers that are read when they are written.

    before: weight (out, in) ─ Transpose ─ MatMul          after: weight (in, out), read transposed ─ MatMul
    """
    for value in [value for value in graph.inputs if value.name not in _INPUTS]:
        name = str(value.name)
        assert value.shape is not None
        shape = tuple(int(size) for size in value.shape.numpy())
        graph.inputs.remove(value)

        read = partial(_read, tensors, score_rows, name)
        value.const_value = Weight(name, shape, partial(_as_float32, read))
        graph.register_initializer(value)
        _transpose(graph, value, read, shape)


def _read(tensors: Tensors, score_rows: dict[str, torch.Tensor], name: str, first: int, end: int) -> torch.Tensor:
    return score_rows[name][first:end] if name in score_rows else tensors.read(name, first, end)


def _as_float32(read: Callable[[int, int], torch.Tensor], first: int, end: int) -> npt.NDArray[np.float32]:
    numbers: npt.NDArray[np.float32] = read(first, end).float().numpy()
    return numbers


def _columns(read: Callable[[], torch.Tensor], first: int, end: int) -> npt.NDArray[np.float32]:
    columns = read().T[first:end]
    numbers: npt.NDArray[np.float32] = torch.empty(columns.shape).copy_(columns).numpy()  # turned and widened in one go
    return numbers


def _transpose(
    graph: ir.Graph, value: ir.Value, read: Callable[[int, int], torch.Tensor], shape: tuple[int, ...]
) -> None:
    turned: ir.Value | None = None
    for node, _ in list(value.uses()):
        if node.op_type != "Transpose" or len(shape) != 2:
            continue
        if turned is None:
            name, turned_shape = f"{value.name}.T", shape[::-1]
            tensor = Weight(name, turned_shape, partial(_columns, partial(read, 0, shape[0])), apart=False)
            turned = ir.Value(name=name, type=value.type, shape=tensor.shape, const_value=tensor)
            graph.register_initializer(turned)
        ir.convenience.replace_all_uses_with(node.outputs[0], turned)
        graph.remove(node, safe=True)
    if turned is not None and not value.uses():
        graph.initializers.pop(str(value.name))


def _onnx_config(model: PreTrainedModel) -> OnnxConfig:
    kind = model.config.model_type
    if kind in TasksManager.get_supported_model_type_for_task("text-generation", exporter="onnx"):
        make = TasksManager.get_exporter_config_constructor("onnx", model=model, task="text-generation")
        return make(model.config, use_past=False)
    # Without a past, the inputs and outputs of all decoders are alike; verification decides whether it worked.
    logger.warning("optimum does not know the model type %r: tracing it as a Llama-like decoder", kind)
    return LlamaOnnxConfig(model.config, task="text-generation", use_past=False)


@contextmanager
def _score_rows_only(
    model: PreTrainedModel, tensors: Tensors, score_token_ids: tuple[int, ...]
) -> Iterator[dict[str, torch.Tensor]]:
    """Lets the model's head be of the score tokens alone; yields its parameters by name."""
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear):
        raise CheckpointError(f"{type(model).__name__} has no linear unembedding (lm_head) to read score rows from")
    path = next(path for path, module in model.named_modules() if module is head)
    rows = torch.nn.Linear(head.in_features, len(score_token_ids), bias=head.bias is not None)
    found = {}
    for name, parameter in rows.named_parameters():
        chosen = [tensors.read(f"{path}.{name}", id_, id_ + 1) for id_ in score_token_ids]
        parameter.requires_grad_(False).copy_(torch.cat(chosen).float())
        found[f"{path}.{name}"] = parameter.data
    model.set_output_embeddings(rows)
    try:
        yield found
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
