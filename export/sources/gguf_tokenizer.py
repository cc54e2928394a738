"""Builds the tokeniser of a GGUF file as the tokenizer.json of its checkpoint has it.

transformers' own conversion keeps three added tokens of Qwen's 22, splits every byte-level text by GPT-2's rule, loses
spaces and line breaks of Phi 3, makes another kind of model of Gemma's, and takes Llama's begin token for its end.
"""

import logging
from pathlib import Path
from typing import Final

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from lager_onnx.export.sources.gguf_header import INSTEAD, value_of
from lager_onnx.export.sources.gguf_vocabulary import (
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    Vocabulary,
    check_markers,
    read_vocabulary,
)
from lager_onnx.export.sources.splitting import COMPOSED, RULES, WHOLE_WORDS
from lager_onnx.export.sources.splitting import LLAMA3 as _LLAMA3  # noqa: F401 - its former place
from lager_onnx.models.errors import CheckpointError

logger = logging.getLogger(__name__)

_SPACE: Final = "▁"
_SAMPLE: Final = "You are a careful judge.\n\nGrade it from 1 to 5: 3.14 isn't 22/7, naïve Ωμέγα 漢字\n\tscore: "
_WORDS: Final = "gpt2"  # how a GGUF file calls byte-level tokenisers
_SENTENCEPIECE: Final = "llama"
_NAMED: Final = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
# Phi 3's special tokens swallow the white space after them, but for these; its vocabulary is known by a token.
_PHI3: Final = "<|placeholder1|>"
_PHI3_KEEPS_SPACE: Final = ("<unk>", "<s>", "<|endoftext|>")


def read_tokenizer(reader: GGUFReader, path: Path) -> PreTrainedTokenizerFast:
    """Return the tokeniser that the header of `path` describes, with its added tokens and its chat template.

    Raises:
        CheckpointError: the file names no kind or splitting rule, or one that is not known here, so tokens could
            silently be wrong; its lists do not fit together; or text is lost.
    """
    kind = value_of(reader, "tokenizer.ggml.model")
    if kind not in (_WORDS, _SENTENCEPIECE):
        raise CheckpointError(f"{path.name} has a tokeniser of the kind {kind!r}, which is not known; {INSTEAD}")
    vocabulary = read_vocabulary(reader, path, spaces=kind == _SENTENCEPIECE)
    named = _named_tokens(reader, path, vocabulary)
    check_markers(reader, path, vocabulary)
    if kind == _WORDS:
        tokenizer = _words(reader, path, vocabulary)
    else:
        tokenizer = _sentencepiece(reader, vocabulary, unknown=named.get("unk_token"))
    _add_tokens(reader, tokenizer, vocabulary)
    if "bos_token" in named and _begins(reader, kind):
        begin = named["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin}:0 $A:0", special_tokens=[(begin, vocabulary.tokens.index(begin))]
        )
    _check_text(tokenizer, path, vocabulary)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    made.chat_template = value_of(reader, "tokenizer.chat_template")
    return made


def _words(reader: GGUFReader, path: Path, vocabulary: Vocabulary) -> Tokenizer:
    rule = value_of(reader, "tokenizer.ggml.pre")
    if rule in (None, "default") and value_of(reader, "general.architecture") == _WORDS:
        rule = _WORDS
    if rule not in RULES:
        raise CheckpointError(
            f"{path.name} splits text by the rule {rule!r}, which is not known; {', '.join(RULES)} are; {INSTEAD}"
        )
    tokenizer = Tokenizer(models.BPE(vocabulary.ids, list(vocabulary.merges or ())))
    tokenizer.normalizer = normalizers.NFC() if rule in COMPOSED else None
    tokenizer.pre_tokenizer = RULES[rule]()
    tokenizer.model.ignore_merges = rule in WHOLE_WORDS
    tokenizer.decoder = decoders.ByteLevel()
    logger.debug("splitting rule of %s: %s", path.name, rule)
    return tokenizer


def _sentencepiece(reader: GGUFReader, vocabulary: Vocabulary, *, unknown: str | None) -> Tokenizer:
    """Spaces are written as a letter, and bytes that are in no token as tokens of their own."""
    ids = vocabulary.ids
    if str(value_of(reader, "general.architecture")).startswith("gemma") and "\t" not in ids and "<0x09>" in ids:
        ids = {**ids, "\t": ids["<0x09>"]}  # as Gemma's tokenizer.json
        del ids["<0x09>"]
    tokenizer = Tokenizer(
        models.BPE(
            ids,
            list(vocabulary.merges if vocabulary.merges is not None else vocabulary.merges_by_score(ids)),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix = value_of(reader, "tokenizer.ggml.add_space_prefix")
    prefixed = prefix is None or bool(prefix)
    prepended = [normalizers.Prepend(_SPACE)] if prefixed else []
    tokenizer.normalizer = normalizers.Sequence([*prepended, normalizers.Replace(" ", _SPACE)])
    stripped = [decoders.Strip(content=" ", left=1)] if prefixed else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *stripped]
    )
    return tokenizer


def _add_tokens(reader: GGUFReader, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """Register control tokens as special ones, user-defined tokens as others, under the ids that they have."""
    phi3 = value_of(reader, "tokenizer.ggml.model") == _SENTENCEPIECE and _PHI3 in vocabulary.ids
    added = []
    for token, type_ in zip(vocabulary.tokens, vocabulary.types, strict=True):
        if type_ in (CONTROL, UNKNOWN):
            swallows = phi3 and token not in _PHI3_KEEPS_SPACE
            added.append(AddedToken(token, special=True, normalized=False, rstrip=swallows))
        elif type_ == USER_DEFINED:
            added.append(AddedToken(token, special=False, normalized=False))
    tokenizer.add_tokens(added)


def _named_tokens(reader: GGUFReader, path: Path, vocabulary: Vocabulary) -> dict[str, str]:
    named = {}
    for short, name in _NAMED.items():
        id_ = value_of(reader, f"tokenizer.ggml.{short}_token_id")
        if id_ is None:
            continue
        if not 0 <= id_ < len(vocabulary.tokens):
            raise CheckpointError(
                f"{path.name} says tokenizer.ggml.{short}_token_id = {id_}, but has {len(vocabulary.tokens)} tokens"
            )
        named[name] = vocabulary.tokens[id_]
    return named


def _begins(reader: GGUFReader, kind: str) -> bool:
    """Return whether a text begins with the begin token; by llama.cpp's default where the file has no key for it."""
    said = value_of(reader, "tokenizer.ggml.add_bos_token")
    if said is not None:
        return bool(said)
    return kind == _SENTENCEPIECE or value_of(reader, "tokenizer.ggml.pre") in WHOLE_WORDS


def _is_user_defined(vocabulary: Vocabulary, token: str) -> bool:
    id_ = vocabulary.ids.get(token)
    return id_ is not None and vocabulary.types[id_] == USER_DEFINED


def _check_text(tokenizer: Tokenizer, path: Path, vocabulary: Vocabulary) -> None:
    encoded = tokenizer.encode(_SAMPLE, add_special_tokens=False)
    read_back = tokenizer.decode(encoded.ids, skip_special_tokens=False)
    if read_back.strip() != _SAMPLE.strip():
        cutting = [token for token in dict.fromkeys(encoded.tokens) if _is_user_defined(vocabulary, token)]
        if cutting and read_back.replace(" ", "") == _SAMPLE.replace(" ", ""):
            raise CheckpointError(
                f"{path.name} leads texts with a space (tokenizer.ggml.add_space_prefix) and has user-defined tokens "
                f"inside texts ({', '.join(map(repr, cutting))}); it does not say whether the text after such a token "
                f"begins with a space too, in which tokenisers differ; {INSTEAD}"
            )
        raise CheckpointError(
            f"the tokeniser of {path.name} loses text: {_SAMPLE!r} is read as {read_back!r}; {INSTEAD}"
        )
