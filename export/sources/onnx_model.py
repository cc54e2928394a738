"""A decoder that is ONNX already: read without PyTorch, and compared with itself as it was given."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from tokenizers import Tokenizer

from lager_onnx.export.calibrate.layer_session import LayerSession
from lager_onnx.export.calibrate.sweep import Sweep
from lager_onnx.export.decoder.locate import locate
from lager_onnx.export.end_tokens import all_end_tokens, declared_ends
from lager_onnx.export.lower.weight_precision import DTYPES
from lager_onnx.export.passes.simplify import simplify
from lager_onnx.export.sources.hf_config import understood
from lager_onnx.export.sources.mend_tokenizer import mend_tokenizer
from lager_onnx.export.sources.onnx_fit import check_fit, check_kind, check_types
from lager_onnx.export.sources.onnx_fused import check_fused, fused_tables, name_sums, split_norms
from lager_onnx.export.sources.onnx_rotary import rotary_tables
from lager_onnx.export.sources.onnx_weights import PAST, forget_past, keep_score_rows, turn_weights, widen
from lager_onnx.export.sources.plain_chat import PlainChat
from lager_onnx.export.sources.source import Array
from lager_onnx.export.sources.text_part import is_wrapped, text_content
from lager_onnx.export.sources.tokenizer_file import read_tokenizer_file
from lager_onnx.export.weights import Weight, narrowed
from lager_onnx.models.errors import CheckpointError, ExportError, VerificationError
from lager_onnx.models.families.internlm3 import MODEL_TYPE as INTERNLM3
from lager_onnx.models.precisions import PARITY, Precision
from lager_onnx.models.spec import JudgeSpec

LOGITS: Final = "logits"
_CONTROL: Final = ("If", "Loop", "Scan")
_NEEDED: Final = (
    "architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"
)  # fmt: skip
_INPUTS: Final = ("input_ids", "attention_mask", "position_ids")
# Fused in ways that are not read.
_FUSED: Final = ("MultiHeadAttention", "Attention", "RotaryEmbedding", "GatherBlockQuantized", "MoE", "QMoE")


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
    config, facts = _config(beside / "config.json")
    tokenizer = read_tokenizer_file(beside / "tokenizer.json")
    notes = mend_tokenizer(tokenizer, vars(config))
    ends = declared_ends(folder, beside)
    found = OnnxModel(name, path, config, tokenizer, PlainChat(beside, tokenizer, notes), facts, ends)
    found.check()
    return found


class OnnxModel:
    """See `Source`; made by `open_onnx`."""

    commit, oracle = "", "the model as it was given"

    def __init__(
        self,
        name: str,
        path: Path,
        config: Any,
        tokenizer: Tokenizer,
        chat: PlainChat,
        facts: Mapping[str, Any],
        ends: Mapping[str, Any],
    ):
        self.facts, self._ends = facts, ends
        self.name, self.config, self.backend, self.chat = name, config, tokenizer, chat
        self._path = path
        self.architecture = str(config.architectures[0])
        initializers = _read(path).graph.initializers.values()
        self._half = any(value.dtype == ir.DataType.FLOAT16 for value in initializers)

    def load(self) -> ir.Model:
        """The graph without past and in float32; weights lie in the file, or are made from what does."""
        model = _read(self._path)
        forget_past(model.graph)
        widen(model)
        turn_weights(model.graph)
        split_norms(model.graph)
        return model

    def check(self) -> None:
        """Refuses by name what cannot be rewritten.

        Raises:
            CheckpointError: says what it is.
        """
        model = _read(self._path)
        kinds = {node.op_type for node in model.graph}
        if control := sorted(kinds & set(_CONTROL)):
            raise CheckpointError(
                f"{self._path} holds {', '.join(control)}: a merged decoder with and without past. Give the one that "
                "optimum-cli export onnx --no-post-process writes"
            )
        if fused := sorted(kinds & set(_FUSED)):
            raise CheckpointError(
                f"{self._path} holds {', '.join(fused)}, which is not read. Export the checkpoint that it was made from"
            )
        if LOGITS not in [value.name for value in model.graph.outputs]:
            raise CheckpointError(f"{self._path} has no output 'logits': it is no causal language model")
        check_fit(model.graph, self.config, self._path)
        check_fused(model.graph, int(self.config.max_position_embeddings))
        strange = [
            value.name
            for value in model.graph.inputs
            if value.name not in _INPUTS and not str(value.name).startswith(PAST)
        ]
        if strange:
            raise CheckpointError(f"{self._path} has inputs that no decoder has: {', '.join(map(str, strange))}")

    @property
    def rotary_precision(self) -> str:
        """See `Source`."""
        return "fp16" if self._half else "fp32"

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
        model = self._simplified()
        keep_score_rows(model.graph, score_token_ids)
        return model

    def rotary_tables(self, positions: int) -> dict[str, tuple[Array, Array]]:
        """See `Source.rotary_tables`; of fused attention, the tables that its nodes read."""
        return fused_tables(_read(self._path).graph, positions) or rotary_tables(self._simplified(), positions)

    def layer_logits(self, prompts: Sequence[list[int]], spec: JudgeSpec, rounded: Precision | None = None) -> Array:
        """See `Source.layer_logits`: the graph as it was given, run layer by layer, with hidden states as outputs."""
        simple = self._simplified()
        anatomy = locate(simple, spec.num_layers)
        names = [str(value.name) for value in (*anatomy.residual_stream, anatomy.normed)]
        if rounded in ("fp16", "bf16"):
            _round_matrices(simple.graph, rounded, head=anatomy.unembedding.inputs[1])
            return self._run(simple, prompts, names, spec)
        given = self._run(self._as_given(), prompts, names, spec, head=self._as_given(split=True))
        if not self._half:
            return given
        # What is computed in 16 bits throughout says little of the judge: it is compared with the same graph in float32
        # that is found to be the same.
        widened = self._run(simple, prompts, names, spec)
        apart = np.abs(given - widened).max(axis=(0, 2)) / np.abs(widened).max(axis=(0, 2))
        # Written so that a NaN fails.
        if not (apart <= PARITY["bf16"].layer_logits).all():
            raise VerificationError(
                f"{self.name}, computed in float32, says something else than in fp16: layer logits of row "
                f"{apart.argmax()} by {apart.max():.1e} (allowed {PARITY['bf16'].layer_logits:.0e} of the layer's "
                "largest). Nothing was kept"
            )
        return widened

    def _run(
        self,
        model: ir.Model,
        prompts: Sequence[list[int]],
        names: list[str],
        spec: JudgeSpec,
        head: ir.Model | None = None,
    ) -> Array:
        """Layer logits by a graph that has the values `names`: h(0) ... h(L), and what the unembedding reads.

        `head` gives those of layers below the last one, where the graph cannot be entered behind its last sum.
        """
        *stream, final, normed = names
        kept: list[dict[str, Array]] = [{} for _ in prompts]

        def see(prompt: int, arrays: dict[str, Array]) -> None:
            kept[prompt] |= {name: array[:, -1:].copy() for name, array in arrays.items()}

        sweep = Sweep(model, prompts, outputs=(LOGITS,), inputs=_empty_past(model.graph))
        for layer in sweep.layers:
            made = {value.name for node in layer.nodes for value in node.outputs}
            layer.run(sweep.prompts, [name for name in names if name in made], see)
        if missing := [name for name in names if name not in kept[0]]:
            raise VerificationError(f"{missing[0]} of the rewritten graph is not in {self.name}: nothing was kept")
        last = np.concatenate([sweep.output(LOGITS, index)[:, -1:] for index in sweep.prompts])
        below = np.concatenate([np.concatenate([found[name] for name in stream], axis=1) for found in kept])
        above = np.concatenate([found[final] for found in kept])
        raw = np.concatenate([below, above], axis=1).astype(kept[0][normed].dtype)
        model = head or model
        logits = np.concatenate([_head(model, normed, raw), _head(model, final, below.astype(above.dtype)), last], 1)
        return np.ascontiguousarray(logits[..., list(spec.score_token_ids)], dtype=np.float32)

    def _simplified(self) -> ir.Model:
        model = self.load()
        simplify()(model)
        return model

    def _as_given(self, *, split: bool = False) -> ir.Model:
        """The graph of the file; where products may round activations to 8 bits, without leave to do so.

        `split` takes sums out of norms.
        """
        model = _read(self._path)
        (split_norms if split else name_sums)(model.graph)
        for node in model.graph:
            if "accuracy_level" in node.attributes:
                node.attributes["accuracy_level"] = ir.AttrInt64("accuracy_level", 1)
        return model

    def unembedding(self) -> tuple[Weight | None, Weight | None]:
        """See `Source.unembedding`."""
        raise ExportError("reasoning is for checkpoints: of an ONNX file, only the rows of the score tokens are kept")

    def end_tokens(self) -> tuple[int, ...]:
        """See `Source.end_tokens`."""
        named = self.chat.eos_token
        declared = {**self._ends, "tokenizer_config.json": None if named is None else self.backend.token_to_id(named)}
        return all_end_tokens(declared, self.backend, self.chat, vocabulary=self.embedding[0])

    def config_json(self) -> str:
        """See `Source.config_json`."""
        return json.dumps(vars(self.config), indent=2)


def _read(path: Path) -> ir.Model:
    try:
        return ir.load(path)
    except Exception as error:  # onnx_ir raises whatever the broken bytes lead to
        raise CheckpointError(f"{path} is no ONNX model ({error})") from error


def _config(path: Path) -> tuple[SimpleNamespace, dict[str, Any]]:
    """Return the decoder's configuration, and the content of config.json as it is."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        check_kind(content.get("model_type"), path)
        own = {name: content[name] for name in ("architectures", "model_type") if name in content}
        config = SimpleNamespace(**understood(text_content(content) if is_wrapped(content) else content) | own)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): it must stand beside the ONNX file") from error
    if missing := [name for name in _NEEDED if not getattr(config, name, None)]:
        raise CheckpointError(f"{path} does not say {', '.join(missing)}")
    check_types(config, path)
    if config.model_type == INTERNLM3:
        config.architectures = ["LlamaForCausalLM"]
    return config, content


def _round_matrices(graph: ir.Graph, precision: Precision, *, head: ir.Value | None) -> None:
    """Rounds the body's matrices as a judge in 16 bits stores them; the head is no part of it."""
    for node in graph:
        weight = node.inputs[{"MatMul": 1, "Gather": 0}[node.op_type]] if node.op_type in ("MatMul", "Gather") else None
        tensor = weight.const_value if weight is not None else None
        if weight is None or tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) != 2:
            continue
        if weight is not head:
            weight.const_value = narrowed(narrowed(tensor, DTYPES[precision]), ir.DataType.FLOAT)


def _empty_past(graph: ir.Graph) -> dict[str, Any]:
    """Keys and values of no tokens, for a decoder with a KV cache."""
    found = {}
    for value in graph.inputs:
        if str(value.name).startswith(PAST):
            shape = [size if isinstance(size, int) else 0 for size in value.shape or ()]
            found[str(value.name)] = np.zeros([1, *shape[1:]], (value.dtype or ir.DataType.FLOAT).numpy())
    return found


def _head(model: ir.Model, start: str, rows: npt.NDArray[Any]) -> Array:
    """The graph's own logits of any hidden states: (batch, n, hidden) to (batch, n, vocabulary)."""
    wanted: set[ir.Node] = set()
    waiting = [next(value for value in model.graph.outputs if value.name == LOGITS)]
    while waiting:
        value = waiting.pop()
        node = value.producer() if value.name != start else None
        if node is not None and node not in wanted:
            wanted.add(node)
            waiting += [each for each in node.inputs if each is not None]
    nodes = [node for node in model.graph if node in wanted]
    return LayerSession(model, nodes, [LOGITS], {start: rows}, "fp32").run({start: rows})[LOGITS]
