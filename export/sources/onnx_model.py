"""A decoder that is ONNX already: read without PyTorch, and compared with itself as it was given."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from tokenizers import Tokenizer

from lager_onnx.export.calibrate.layer_session import LayerSession
from lager_onnx.export.calibrate.sweep import Sweep
from lager_onnx.export.decoder.locate import Anatomy, locate
from lager_onnx.export.lower.weight_precision import DTYPES
from lager_onnx.export.passes.simplify import simplify
from lager_onnx.export.sources.onnx_rotary import rotary_tables
from lager_onnx.export.sources.onnx_weights import forget_past, keep_score_rows, turn_weights, widen
from lager_onnx.export.sources.plain_chat import PlainChat
from lager_onnx.export.sources.source import Array
from lager_onnx.export.weights import narrowed
from lager_onnx.models.errors import CheckpointError
from lager_onnx.models.families.internlm3 import MODEL_TYPE as INTERNLM3
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import JudgeSpec

LOGITS: Final = "logits"
_CONTROL: Final = ("If", "Loop", "Scan")
_NEEDED: Final = (
    "architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"
)  # fmt: skip
_INPUTS: Final = ("input_ids", "attention_mask", "position_ids")
_FUSED: Final = ("GroupQueryAttention", "MultiHeadAttention", "Attention", "RotaryEmbedding")


def open_onnx(name: str) -> "OnnxModel":
    """Opens a decoder that optimum exported, with its tokenizer.json and config.json beside it.

    Raises:
        CheckpointError: a file is missing or damaged, or the graph is one that cannot be rewritten; says why.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise CheckpointError(f"no ONNX file at {name!r}")
    folder = path.parent
    # A subfolder onnx/, as the hub has it, has the other files beside it.
    beside = next((place for place in (folder, folder.parent) if (place / "config.json").exists()), folder)
    config = _config(beside / "config.json")
    try:
        tokenizer = Tokenizer.from_file(str(beside / "tokenizer.json"))
    except Exception as error:  # tokenizers raises Exception itself
        raise CheckpointError(f"{beside / 'tokenizer.json'} cannot be read ({error})") from error
    found = OnnxModel(name, path, config, tokenizer, PlainChat(beside, tokenizer))
    found.check()
    return found


class OnnxModel:
    """See `Source`; made by `open_onnx`."""

    commit, oracle = "", "the model as it was given"

    def __init__(self, name: str, path: Path, config: Any, tokenizer: Tokenizer, chat: PlainChat):
        self.name, self.config, self.backend, self.chat = name, config, tokenizer, chat
        self._path = path
        self.architecture = str(config.architectures[0])

    def load(self) -> ir.Model:
        """The graph without past and in float32; weights lie in the file, or are made from what does."""
        try:
            model = ir.load(self._path)
        except Exception as error:  # onnx_ir raises whatever the broken bytes lead to
            raise CheckpointError(f"{self._path} is no ONNX model ({error})") from error
        forget_past(model.graph)
        widen(model)
        turn_weights(model.graph)
        return model

    def check(self) -> None:
        """Refuses by name what cannot be rewritten.

        Raises:
            CheckpointError: says what it is.
        """
        model = ir.load(self._path)
        kinds = {node.op_type for node in model.graph}
        if control := sorted(kinds & set(_CONTROL)):
            raise CheckpointError(
                f"{self._path} holds {', '.join(control)}: a merged decoder with and without past. Give the one that "
                "optimum-cli export onnx --no-post-process writes"
            )
        if fused := sorted(kinds & set(_FUSED)):
            raise CheckpointError(
                f"{self._path} holds {', '.join(fused)}: its attention is fused already, which is not read. Export the "
                "checkpoint that it was made from"
            )
        if LOGITS not in [value.name for value in model.graph.outputs]:
            raise CheckpointError(f"{self._path} has no output 'logits': it is no causal language model")
        strange = [
            value.name
            for value in model.graph.inputs
            if value.name not in _INPUTS and not str(value.name).startswith("past_key_values.")
        ]
        if strange:
            raise CheckpointError(f"{self._path} has inputs that no decoder has: {', '.join(map(str, strange))}")

    @property
    def embedding(self) -> tuple[int, int]:
        """Tokens and hidden size."""
        return int(self.config.vocab_size), int(self.config.hidden_size)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the float32 graph's weights."""
        tensors = ((name, value.const_value) for name, value in self.load().graph.initializers.items())
        return {f".{name}": tuple(tensor.shape.numpy()) for name, tensor in tensors if tensor is not None}

    def graph(self, score_token_ids: tuple[int, ...], folder: Path) -> ir.Model:  # noqa: ARG002 - nothing is written
        """See `Source.graph`."""
        model = self.load()
        simplify()(model)
        keep_score_rows(model.graph, score_token_ids)
        return model

    def rotary_tables(self, positions: int) -> dict[str, tuple[Array, Array]]:
        """See `Source.rotary_tables`."""
        model = self.load()
        simplify()(model)
        return rotary_tables(model, positions)

    def layer_logits(self, prompts: Sequence[list[int]], spec: JudgeSpec, rounded: Precision | None = None) -> Array:
        """See `Source.layer_logits`: the graph as it was given, run layer by layer, with hidden states as outputs."""
        model = self.load()
        simplify()(model)
        if rounded in ("fp16", "bf16"):
            _round_matrices(model.graph, rounded)
        anatomy = locate(model, spec.num_layers)
        names = [str(value.name) for value in anatomy.residual_stream]
        kept: list[dict[str, Array]] = [{} for _ in prompts]

        def see(prompt: int, arrays: dict[str, Array]) -> None:
            kept[prompt] |= {name: array[:, -1:].copy() for name, array in arrays.items()}

        sweep = Sweep(model, prompts, outputs=(LOGITS,), positions=True)
        for layer in sweep.layers:
            made = {value.name for node in layer.nodes for value in node.outputs}
            layer.run(sweep.prompts, [name for name in names if name in made], see)
        last = [sweep.output(LOGITS, index)[:, -1:] for index in sweep.prompts]
        below = np.concatenate([np.concatenate([found[name] for name in names[:-1]], axis=1) for found in kept])
        above = _head(model, anatomy, below, normed=spec.lens == "norm")  # (prompts, L, vocabulary)
        logits = np.concatenate([above, np.concatenate(last)], axis=1)[..., list(spec.score_token_ids)]
        return np.ascontiguousarray(logits, dtype=np.float32)

    def config_json(self) -> str:
        """See `Source.config_json`."""
        return json.dumps(vars(self.config), indent=2)


def _config(path: Path) -> SimpleNamespace:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = SimpleNamespace(**(content.get("text_config") or {}) | content)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): it must stand beside the ONNX file") from error
    if missing := [name for name in _NEEDED if not getattr(config, name, None)]:
        raise CheckpointError(f"{path} does not say {', '.join(missing)}")
    if config.model_type == INTERNLM3:
        config.architectures = ["LlamaForCausalLM"]
    return config


def _round_matrices(graph: ir.Graph, precision: Precision) -> None:
    """Rounds the body's matrices as a judge in 16 bits stores them."""
    head = _unembedding(graph)
    for node in graph:
        weight = node.inputs[{"MatMul": 1, "Gather": 0}[node.op_type]] if node.op_type in ("MatMul", "Gather") else None
        tensor = weight.const_value if weight is not None else None
        if weight is None or tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) != 2:
            continue
        if weight is not head:
            weight.const_value = narrowed(narrowed(tensor, DTYPES[precision]), ir.DataType.FLOAT)


def _unembedding(graph: ir.Graph) -> ir.Value | None:
    node = next(value for value in graph.outputs if value.name == LOGITS).producer()
    while node is not None and node.op_type != "MatMul":
        node = next((value.producer() for value in node.inputs if value is not None and value.producer()), None)
    return node.inputs[1] if node is not None else None


def _head(model: ir.Model, anatomy: Anatomy, rows: Array, *, normed: bool) -> Array:
    """The graph's own logits of any hidden states: (batch, n, hidden) to (batch, n, vocabulary)."""
    start = anatomy.residual_stream[-1] if normed else anatomy.normed
    nodes: list[ir.Node] = []
    waiting = [anatomy.logits.producer()]
    while waiting:
        node = waiting.pop()
        if node is None or node in nodes or start in node.outputs:
            continue
        nodes.append(node)
        waiting += [value.producer() for value in node.inputs if value is not None and value is not start]
    in_order = [node for node in model.graph if node in set(nodes)]
    session = LayerSession(model, in_order, [LOGITS], {str(start.name): rows}, "fp32")
    return session.run({str(start.name): rows})[LOGITS]
