"""Mends the tokeniser that transformers rebuilds from a GGUF file.

Byte-level ones get GPT-2's splitting rule there, whatever the file says in `tokenizer.ggml.pre`. Some then cut text
differently from the checkpoint's own: SmolLM2, for one, splits digits off before anything else, so that a blank line
before "1." is one token, not two. SentencePiece ones of Phi 3 lose spaces and line breaks.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gguf import GGUFReader
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.pre_tokenizers import PreTokenizer

from lager_onnx.models.errors import CheckpointError

logger = logging.getLogger(__name__)

_SPACE: Final = "▁"
_INSTEAD: Final = "export the checkpoint's Hugging Face directory instead"
_SAMPLE: Final = "You are a careful judge.\n\nGrade it from 1 to 5: 3.14 isn't 22/7, naïve Ωμέγα 漢字\n\tscore: "

# The rules as the tokenizer.json of these models publish them: Llama 3 and Qwen 2 differ in the length of numbers,
# Mistral's Tekken and GPT-4o (Phi-4-mini) in their contractions besides; DeepSeek splits by one rule after another.
_LLAMA3: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2: Final = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN: Final = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CONTRACTION: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_GPT4O: Final = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK_CODER: Final = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")
_DEEPSEEK_V3: Final = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
)


def _by(*patterns: str) -> PreTokenizer:
    splits = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _gpt2() -> PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _digits_then_gpt2() -> PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


_RULES: Final[dict[str, Callable[[], PreTokenizer]]] = {
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "dbrx", "smaug-bpe"), lambda: _by(_LLAMA3)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2"), lambda: _by(_QWEN2)),
    **dict.fromkeys(("gpt-2", "gpt2", "olmo", "phi-2"), _gpt2),
    **dict.fromkeys(("smollm", "refact", "starcoder", "command-r"), _digits_then_gpt2),
    "tekken": lambda: _by(_TEKKEN),
    "gpt-4o": lambda: _by(_GPT4O),
    "deepseek-coder": lambda: _by(*_DEEPSEEK_CODER),
    "deepseek-v3": lambda: _by(*_DEEPSEEK_V3),
}
# Whose tokenizer.json looks a whole word up before it merges anything.
_WHOLE_WORDS: Final = ("llama-bpe", "llama3", "llama-v3", "tekken")
_WORDS: Final = "gpt2"  # how a GGUF file calls byte-level tokenisers
_SENTENCEPIECE: Final = "llama"


def mend_tokenizer(reader: GGUFReader, path: Path, tokenizer: Tokenizer) -> None:
    """Lets `tokenizer` cut text as the GGUF file at `path` says.

    Raises:
        CheckpointError: the file names no rule, or one that is not known here, so tokens could silently be wrong; or
            text is lost.
    """
    kind = _value(reader, "tokenizer.ggml.model")
    if kind == _WORDS:
        _mend_words(reader, path, tokenizer)
    elif kind == _SENTENCEPIECE:
        _mend_sentencepiece(reader, tokenizer)
    else:
        raise CheckpointError(f"{path.name} has a tokeniser of the kind {kind!r}, which is not known; {_INSTEAD}")
    read_back = tokenizer.decode(tokenizer.encode(_SAMPLE, add_special_tokens=False).ids, skip_special_tokens=False)
    if read_back.strip() != _SAMPLE.strip():
        raise CheckpointError(
            f"the tokeniser of {path.name} loses text: {_SAMPLE!r} is read as {read_back!r}; {_INSTEAD}"
        )


def _mend_words(reader: GGUFReader, path: Path, tokenizer: Tokenizer) -> None:
    rule = _value(reader, "tokenizer.ggml.pre")
    if rule in (None, "default") and _value(reader, "general.architecture") == _WORDS:
        rule = _WORDS
    if rule not in _RULES:
        raise CheckpointError(
            f"{path.name} splits text by the rule {rule!r}, which is not known; {', '.join(_RULES)} are. {_INSTEAD}"
        )
    tokenizer.pre_tokenizer = _RULES[rule]()
    if rule in _WHOLE_WORDS:
        tokenizer.model.ignore_merges = True
    tokenizer.decoder = decoders.ByteLevel()
    logger.debug("pre-tokeniser of %s: %s", path.name, rule)


def _mend_sentencepiece(reader: GGUFReader, tokenizer: Tokenizer) -> None:
    """Spaces are written as a letter, and bytes that are in no token as tokens of their own."""
    prefix = _value(reader, "tokenizer.ggml.add_space_prefix")
    prepended = [normalizers.Prepend(_SPACE)] if prefix is None or prefix else []
    tokenizer.normalizer = normalizers.Sequence([*prepended, normalizers.Replace(" ", _SPACE)])
    tokenizer.pre_tokenizer = None
    tokenizer.model.byte_fallback = True


def _value(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()
