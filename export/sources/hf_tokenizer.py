"""Loads the tokeniser of a folder in Hugging Face format, also as transformers 5 writes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import transformers
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from lager_onnx.export.sources.json_file import read_json
from lager_onnx.export.sources.tokenizer_file import check_tokenizer_file
from lager_onnx.models.errors import CheckpointError

_CONFIG: Final = "tokenizer_config.json"
_WHOLE: Final = "tokenizer.json"
# transformers 5's names of special tokens: a list without names, and those of a kind of model by name.
_UNNAMED, _BY_NAME = "extra_special_tokens", "model_specific_special_tokens"


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Return the tokeniser of a folder.

    Where transformers 5 wrote it (its class is one that transformers 4 does not have, or its special tokens have
    transformers 5's form), tokenizer.json is read as it is, with the special tokens and the chat template beside it.

    Raises:
        CheckpointError: tokenizer_config.json or tokenizer.json is broken, or such a tokeniser has no tokenizer.json.
    """
    content = read_json(folder / _CONFIG) if (folder / _CONFIG).exists() else {}
    kind = content.get("tokenizer_class")
    if kind is not None and not isinstance(kind, str):
        raise CheckpointError(
            f"{folder / _CONFIG} says tokenizer_class = {kind!r}: it must be a name, such as 'PreTrainedTokenizerFast'"
        )
    if (folder / _WHOLE).exists():
        check_tokenizer_file(folder / _WHOLE)
    if not _is_newer(content):
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    if not (folder / _WHOLE).exists():
        raise CheckpointError(
            f"{folder / _CONFIG} names the tokeniser {content.get('tokenizer_class')}, which this transformers does "
            f"not have, and there is no {_WHOLE} beside it: save the tokeniser with the transformers that has it"
        )
    unnamed, by_name = content.get(_UNNAMED), content.get(_BY_NAME) or {}
    named = {**(unnamed if isinstance(unnamed, Mapping) else {}), **by_name}
    listed = [*(content.get("additional_special_tokens") or []), *(unnamed if isinstance(unnamed, list) else [])]
    return PreTrainedTokenizerFast.from_pretrained(
        str(folder),
        extra_special_tokens={name: _token(token) for name, token in named.items()},
        additional_special_tokens=list(dict.fromkeys(_token(token) for token in listed)),
    )


def _is_newer(content: Mapping[str, Any]) -> bool:
    name = content.get("tokenizer_class")
    unknown = (
        name is not None
        and "auto_map" not in content
        and not any(hasattr(transformers, each) for each in (str(name), f"{name}Fast"))
    )
    return unknown or isinstance(content.get(_UNNAMED), list) or _BY_NAME in content


def _token(token: Any) -> str:
    """Text of a special token; its other properties are in tokenizer.json."""
    if isinstance(token, Mapping) and isinstance(token.get("content"), str):
        return str(token["content"])
    if isinstance(token, str | AddedToken):
        return str(token)
    raise CheckpointError(
        f"{_CONFIG} names the special token {token!r}, which is no text: write the token itself there"
    )
