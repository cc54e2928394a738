"""Mend what spoils prompts in a tokenizer.json: padding, truncation, Mistral's wrong splitting rule."""

import json
from collections.abc import Mapping
from typing import Any, Final

from tokenizers import Tokenizer, pre_tokenizers

from lager_onnx.export.sources.splitting import LLAMA3, TEKKEN

# The kinds of model, and the size of the vocabulary, by which transformers 4.57.2 and later tell these tokenisers.
_MISTRALS: Final = ("mistral", "mistral3", "voxtral", "ministral", "pixtral")
_LARGE: Final = 100_000
_LLAMA3_BEGIN: Final = "<|begin_of_text|>"
_MENDED: Final = (
    "tokenizer.json has the splitting rule of Llama 3, with which some Mistral models were published by mistake: the "
    "rule that they were trained with is used instead, as transformers does with fix_mistral_regex=True"
)
_UNKNOWN: Final = (
    "tokenizer.json has a splitting rule that is neither Mistral's nor the wrong one with which some Mistral models "
    "were published; transformers warns of it. It is used as it is: compare the tokens of a text with mistral-common"
)


def mend_tokenizer(tokenizer: Tokenizer, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Let a tokeniser read whole texts as its model was trained to, in place; return notes for the judge's user.

    Padding and truncation are switched off. Mistral's splitting rule is mended where transformers warns of it; see
    `PreTrainedTokenizerBase._patch_mistral_regex` in transformers 4.57.6.

    Args:
        tokenizer: as a file has it.
        config: content of the checkpoint's config.json.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if not _suspicious(tokenizer, config):
        return ()
    state = json.loads(tokenizer.pre_tokenizer.__getstate__())
    first: dict[str, Any] = next(iter(state.get("pretokenizers", ())), {})
    pattern = first.get("pattern", {})
    rule = pattern.get("Regex") if first.get("type") == "Split" else None
    if rule == TEKKEN or state["type"] == "Metaspace":
        return ()
    if rule != LLAMA3:
        return (_UNKNOWN,)
    first["pattern"] = {"Regex": TEKKEN}
    mended = pre_tokenizers.Sequence([])
    mended.__setstate__(json.dumps(state).encode())
    tokenizer.pre_tokenizer = mended
    return (_MENDED,)


def _suspicious(tokenizer: Tokenizer, config: Mapping[str, Any]) -> bool:
    """Return whether it is of the kind that was published with the wrong rule, and no transformers 5 has saved it.

    Llama 3's own tokeniser is none, whatever the architecture.
    """
    text = config.get("text_config")
    kinds = {config.get("model_type"), text.get("model_type") if isinstance(text, Mapping) else None}
    major = str(config.get("transformers_version") or "0").split(".")[0]
    return (
        bool(kinds & set(_MISTRALS))
        and not (major.isdecimal() and int(major) >= 5)
        and tokenizer.get_vocab_size(with_added_tokens=False) > _LARGE
        and tokenizer.token_to_id(_LLAMA3_BEGIN) is None
        and tokenizer.pre_tokenizer is not None
    )
