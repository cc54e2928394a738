"""Loads a checkpoint: a local Hugging Face directory, a `.gguf` file or a hub id."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from lager_onnx.export.gguf_tokenizer import mend_pre_tokenizer
from lager_onnx.models.errors import CheckpointError
from lager_onnx.models.families.internlm3 import MODEL_TYPE as INTERNLM3
from lager_onnx.models.families.internlm3 import as_llama


@dataclass(frozen=True)
class Checkpoint:
    """A judge before export: float32 model in eval mode, and its fast tokeniser."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def config(self) -> Any:
        """The decoder's configuration (of the text part, where there are others)."""
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
    """Loads model and tokeniser in float32.

    Attention is computed eagerly: it is the reference that every family has, and the only one that keeps
    Gemma 2's soft caps.

    Args:
        name: directory, `.gguf` file or hub id.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run the Python code that ships with the checkpoint.

    Raises:
        CheckpointError: nothing there, not a decoder that transformers can load, or no fast tokeniser.
    """
    path = Path(name).expanduser()
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(path) if path.exists() else name}
    if path.is_file():
        if path.suffix != ".gguf":
            raise CheckpointError(f"{name} is a file but no .gguf: give a directory, a .gguf file or a hub id")
        where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    elif not path.exists() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise CheckpointError(f"no checkpoint at {name}: the path does not exist")
    where |= {"revision": revision} if revision else {}
    try:
        with _without_remarks():
            model, tokenizer = _load(where, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError) as error:
        hint = " On our command line that is --trust-remote-code." if "trust_remote_code" in str(error) else ""
        raise CheckpointError(f"cannot load the checkpoint {name}: {error}{hint}") from error
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"the tokeniser of {name} ({type(tokenizer).__name__}) has no fast version, so it cannot be written as "
            "tokenizer.json. Convert it once with transformers.convert_slow_tokenizer and save it beside the checkpoint"
        )
    if path.is_file():
        mend_pre_tokenizer(path, tokenizer.backend_tokenizer)
    return Checkpoint(name, model.eval().requires_grad_(False), tokenizer)


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Hides what transformers says of tokenisers rebuilt from GGUF: nothing that a user could act on."""
    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)


def _load(where: dict[str, Any], *, trust_remote_code: bool) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    numbers: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "eager"}
    if "gguf_file" not in where and not trust_remote_code:
        config, _ = PretrainedConfig.get_config_dict(**where)
        if config.get("model_type") == INTERNLM3:  # a Llama by another name: its own code is not needed
            model = LlamaForCausalLM.from_pretrained(**where, **numbers, config=LlamaConfig(**as_llama(config)))
            return model, _fast_tokenizer(where)
    model = AutoModelForCausalLM.from_pretrained(**where, **numbers, trust_remote_code=trust_remote_code)
    return model, AutoTokenizer.from_pretrained(**where, trust_remote_code=trust_remote_code)


def _fast_tokenizer(where: dict[str, Any]) -> PreTrainedTokenizerBase:
    try:
        return PreTrainedTokenizerFast.from_pretrained(**where)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            "this InternLM3 has no tokenizer.json: its published tokeniser is SentencePiece (tokenizer.model). Convert "
            "it once with transformers.LlamaTokenizerFast, compare the tokens of some texts with its own, and save the "
            "tokenizer.json beside the checkpoint"
        ) from error
