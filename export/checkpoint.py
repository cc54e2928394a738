"""Loads a checkpoint: a local Hugging Face directory, a `.gguf` file or a hub id."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from lager_onnx.export.sources.find import Files, find_files
from lager_onnx.export.sources.gguf import complete, open_gguf
from lager_onnx.export.sources.gguf_tokenizer import mend_pre_tokenizer
from lager_onnx.export.sources.refuse import TEXT_PARTS, refuse_config, refuse_files
from lager_onnx.export.sources.strict import load_strictly
from lager_onnx.export.sources.text_part import text_part
from lager_onnx.export.steps import foreign_errors
from lager_onnx.models.errors import CheckpointError
from lager_onnx.models.families.internlm3 import MODEL_TYPE as INTERNLM3
from lager_onnx.models.families.internlm3 import as_llama


@dataclass(frozen=True)
class Checkpoint:
    """A language model before export: float32, in eval mode, and its fast tokeniser."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    commit: str = ""

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


def load_checkpoint(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Checkpoint:
    """Loads model and tokeniser in float32; every weight comes from the files, and none is left out.

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
        model, tokenizer = load(files, trust_remote_code)
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"the tokeniser of {name} ({type(tokenizer).__name__}) has no fast version, so it cannot be written as "
            "tokenizer.json. Convert it once with transformers.convert_slow_tokenizer and save it beside the checkpoint"
        )
    return Checkpoint(name, model.eval().requires_grad_(False), tokenizer, files.commit)


@contextmanager
def _silence() -> Iterator[None]:
    """Hides transformers' remarks: what matters of them is an error here."""
    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)


_NUMBERS: Final[dict[str, Any]] = {"dtype": torch.float32, "attn_implementation": "eager"}


def _from_gguf(files: Files, trust_remote_code: bool) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:  # noqa: ARG001
    path = files.folder / (files.gguf or "")
    reader = open_gguf(path)
    where = {"pretrained_model_name_or_path": str(files.folder), "gguf_file": files.gguf}
    model = load_strictly(partial(AutoModelForCausalLM.from_pretrained, **where, **_NUMBERS), path)
    complete(reader, path, model)
    tokenizer = AutoTokenizer.from_pretrained(**where)
    mend_pre_tokenizer(reader, path, tokenizer.backend_tokenizer)
    return model, tokenizer


def _from_folder(files: Files, trust_remote_code: bool) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    folder, config = str(files.folder), refuse_config(files.folder)
    architecture = next(iter(config.get("architectures") or [""]))
    load: Callable[..., Any]
    tokenizer = None
    if config.get("model_type") == INTERNLM3 and not trust_remote_code:  # a Llama whose own code is not needed
        load = partial(LlamaForCausalLM.from_pretrained, folder, config=LlamaConfig(**as_llama(config)))
        tokenizer = _fast_tokenizer(files.folder)
    elif architecture in TEXT_PARTS:
        text = AutoConfig.from_pretrained(folder).get_text_config()
        decoder = MODEL_FOR_CAUSAL_LM_MAPPING[type(text)]
        load = partial(decoder.from_pretrained, None, config=text, state_dict=text_part(files.folder))
    else:
        load = partial(AutoModelForCausalLM.from_pretrained, folder, trust_remote_code=trust_remote_code)
    model = load_strictly(partial(load, **_NUMBERS), files.folder)
    return model, tokenizer or AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)


def _fast_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        return PreTrainedTokenizerFast.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            "this InternLM3 has no tokenizer.json: its published tokeniser is SentencePiece (tokenizer.model). Convert "
            "it once with transformers.LlamaTokenizerFast, compare the tokens of some texts with its own, and save the "
            "tokenizer.json beside the checkpoint"
        ) from error
