"""Loads a checkpoint: a local Hugging Face directory, a `.gguf` file or a hub id."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import onnx_ir as ir
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from lager_onnx.export.end_tokens import all_end_tokens, declared_ends
from lager_onnx.export.rotary import Array, rotary_tables
from lager_onnx.export.skeleton import skeleton
from lager_onnx.export.sources.find import Files, find_files
from lager_onnx.export.sources.gguf import GgufTensors, check_header, open_gguf, opened_once
from lager_onnx.export.sources.gguf_config import complete_config
from lager_onnx.export.sources.gguf_rope import rope_facts
from lager_onnx.export.sources.gguf_tokenizer import read_tokenizer
from lager_onnx.export.sources.hf_chat import HfChat
from lager_onnx.export.sources.hf_model import described
from lager_onnx.export.sources.hf_tokenizer import load_tokenizer
from lager_onnx.export.sources.json_file import read_json
from lager_onnx.export.sources.mend_tokenizer import mend_tokenizer
from lager_onnx.export.sources.pretrained import load_pretrained
from lager_onnx.export.sources.quantised import without_quantisation
from lager_onnx.export.sources.refuse import refuse_config, refuse_files
from lager_onnx.export.sources.strict import match_tensors
from lager_onnx.export.sources.tensors import Renamed, StateDict, Tensors
from lager_onnx.export.sources.text_part import is_wrapped, name_alone
from lager_onnx.export.sources.weight_files import open_weight_files
from lager_onnx.export.steps import foreign_errors
from lager_onnx.export.trace import trace
from lager_onnx.export.verify.oracle import oracle_layer_logits
from lager_onnx.export.weights import Weight
from lager_onnx.models.errors import CheckpointError
from lager_onnx.models.families.internlm3 import MODEL_TYPE as INTERNLM3
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import JudgeSpec


@dataclass(frozen=True)
class Checkpoint:
    """A language model before export: float32, in eval mode, and its fast tokeniser.

    Attributes:
        name: as it was given.
        model: without its weights.
        tensors: the weights, under the names of the model's parameters; read one at a time.
        tokenizer: with a `tokenizers` object behind it.
        commit: of a hub id's snapshot.
        facts: see `Source`.
        ends: what its files say of end tokens, by file.
        notes: what a user should know of its tokeniser.
    """

    name: str
    model: PreTrainedModel
    tensors: Tensors
    tokenizer: PreTrainedTokenizerBase
    commit: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    ends: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    oracle: ClassVar[str] = "PyTorch"
    rotary_precision: ClassVar[str] = "fp32"

    @property
    def config(self) -> Any:
        """The decoder's configuration."""
        return self.model.config.get_text_config()

    @property
    def architecture(self) -> str:
        """Name of the model class, such as `LlamaForCausalLM`."""
        return type(self.model).__name__

    @property
    def backend(self) -> Tokenizer:
        """The `tokenizers` object behind the tokeniser: what scoring will use."""
        return self.tokenizer.backend_tokenizer

    @property
    def chat(self) -> HfChat:
        """The tokeniser's chat template."""
        return HfChat(self.tokenizer, self.notes)

    @property
    def embedding(self) -> tuple[int, int]:
        """Tokens and hidden size."""
        return tuple(self.model.get_input_embeddings().weight.shape)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of its parameters."""
        return {name: tuple(parameter.shape) for name, parameter in self.model.named_parameters()}

    def graph(self, score_token_ids: tuple[int, ...], folder: Path) -> ir.Model:
        """See `Source.graph`."""
        return trace(self.model, self.tensors, score_token_ids, folder)

    def rotary_tables(self, positions: int) -> dict[str, tuple[Array, Array]]:
        """See `Source.rotary_tables`."""
        return rotary_tables(self.model, positions)

    def layer_logits(self, prompts: Sequence[list[int]], spec: JudgeSpec, rounded: Precision | None = None) -> Array:
        """See `Source.layer_logits`."""
        return oracle_layer_logits(self.model, self.tensors, prompts, spec, rounded)

    def unembedding(self) -> tuple[Weight | None, Weight | None]:
        """See `Source.unembedding`."""
        head = self.model.get_output_embeddings()
        assert isinstance(head, torch.nn.Linear)
        path = next(path for path, module in self.model.named_modules() if module is head)
        tied = head.weight is self.model.get_input_embeddings().weight
        bias = None if head.bias is None else self._weight(f"{path}.bias", tuple(head.bias.shape))
        return None if tied else self._weight(f"{path}.weight", tuple(head.weight.shape)), bias

    def _weight(self, name: str, shape: tuple[int, ...]) -> Weight:
        return Weight(name, shape, lambda first, end: self.tensors.read(name, first, end).float().numpy())

    def end_tokens(self) -> tuple[int, ...]:
        """See `Source.end_tokens`."""
        declared = {**self.ends, "the tokeniser": self.tokenizer.eos_token_id}
        return all_end_tokens(declared, self.backend, self.chat, vocabulary=self.embedding[0])

    def config_json(self) -> str:
        """See `Source.config_json`; without the path that the checkpoint was read from, which is nobody's business."""
        config = json.loads(self.config.to_json_string(use_diff=False))
        config.pop("_name_or_path", None)
        return json.dumps(config, indent=2, sort_keys=True) + "\n"


def load_checkpoint(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Checkpoint:
    """Opens a checkpoint: its model without weights, its tensors, each of which the model knows, and its tokeniser.

    Attention is computed eagerly: it is the reference that every family has, and the only one that keeps
    Gemma 2's soft caps.

    Args:
        name: directory, `.gguf` file or hub id.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run the Python code that ships with the checkpoint.

    Raises:
        CheckpointError: nothing there, not a decoder that transformers can load, weights missing or surplus, or no fast
            tokeniser.
    """
    files = find_files(name, revision)
    refuse_files(files.folder, files.gguf)
    load = _from_gguf if files.gguf else _from_folder
    with foreign_errors(CheckpointError, f"cannot load the checkpoint {name}"), _silence():
        model, tensors, tokenizer, facts = load(files, trust_remote_code)
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"the tokeniser of {name} ({type(tokenizer).__name__}) has no fast version, so it cannot be written as "
            "tokenizer.json. Convert it once with transformers.convert_slow_tokenizer and save it beside the checkpoint"
        )
    _check_vocabulary(name, tokenizer.backend_tokenizer, len(model.get_input_embeddings().weight))
    if files.gguf:
        ends = {"the header (eos, eot, eom)": model.config.eos_token_id}
        notes = mend_tokenizer(tokenizer.backend_tokenizer, {})
    else:
        ends = declared_ends(files.folder)
        notes = mend_tokenizer(tokenizer.backend_tokenizer, read_json(files.folder / "config.json"))
    return Checkpoint(name, model, tensors, tokenizer, files.commit, facts, ends, notes)


def _check_vocabulary(name: str, tokenizer: Tokenizer, rows: int) -> None:
    """Tokens that were added may be beyond the embedding: records that hold one are refused when they are graded."""
    last = max(tokenizer.get_vocab(with_added_tokens=False).values(), default=0)
    if last >= rows:
        raise CheckpointError(
            f"the tokeniser of {name} knows {last + 1} tokens, more than its embedding of {rows}: "
            "they are not of one checkpoint. Copy tokenizer.json from the one whose weights these are"
        )


@contextmanager
def _silence() -> Iterator[None]:
    """Hides transformers' remarks: what matters of them is an error here."""
    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)


Loaded = tuple[PreTrainedModel, Tensors, PreTrainedTokenizerBase, Mapping[str, Any]]
_NUMBERS: Final[dict[str, Any]] = {"dtype": torch.float32, "attn_implementation": "eager"}


def _from_gguf(files: Files, trust_remote_code: bool) -> Loaded:  # noqa: ARG001
    path = files.folder / (files.gguf or "")
    reader = open_gguf(path)
    where = {"pretrained_model_name_or_path": str(files.folder), "gguf_file": files.gguf}
    with opened_once(reader):
        config = AutoConfig.from_pretrained(**where)
    complete_config(reader, config)
    tokenizer = read_tokenizer(reader, path)
    model = skeleton(lambda: AutoModelForCausalLM.from_config(config, **_NUMBERS))
    check_header(reader, path, model)
    return model, match_tensors(GgufTensors(reader, model, path), model, path), tokenizer, rope_facts(reader)


def _from_folder(files: Files, trust_remote_code: bool) -> Loaded:
    folder, content = str(files.folder), refuse_config(files.folder)
    tensors = open_weight_files(files.folder, name_alone if is_wrapped(content) else str)
    plain = without_quantisation(content, tensors.types, files.folder)
    if trust_remote_code and "auto_map" in content:
        if plain != content:
            raise CheckpointError(f"{folder}: take quantization_config out of config.json, its weights are plain")
        options = {**_NUMBERS, "trust_remote_code": True}
        model = load_pretrained(partial(AutoModelForCausalLM.from_pretrained, folder, **options), files.folder)
        tokenizer = load_tokenizer(files.folder, trust_remote_code=True)
        loaded = StateDict(model.state_dict())
        return model, Renamed(loaded, {name: name for name in loaded.shapes}), tokenizer, content
    found = described(plain)
    model = skeleton(partial(found.model._from_config, found.config, **_NUMBERS))
    fast = _fast_tokenizer(files.folder) if content.get("model_type") == INTERNLM3 else None
    tokenizer = fast or load_tokenizer(files.folder)
    return model, match_tensors(tensors, model, files.folder), tokenizer, content


def _fast_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        return PreTrainedTokenizerFast.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            "this InternLM3 has no tokenizer.json: its published tokeniser is SentencePiece (tokenizer.model). Convert "
            "it once with transformers.LlamaTokenizerFast, compare the tokens of some texts with its own, and save the "
            "tokenizer.json beside the checkpoint"
        ) from error
