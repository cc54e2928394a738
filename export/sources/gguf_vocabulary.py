"""The vocabulary of a GGUF file: tokens, their types, and merges, which SentencePiece files give as scores."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from gguf import GGUFReader, TokenType

from lager_onnx.export.sources.gguf_header import INSTEAD, value_of
from lager_onnx.models.errors import CheckpointError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = (
    int(kind)
    for kind in (TokenType.NORMAL, TokenType.UNKNOWN, TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNUSED)
)
_SPACE: Final = "▁"
_CONVERT: Final = f"convert it again with a current convert_hf_to_gguf.py, or {INSTEAD}"
_READ_WHOLE: Final = (UNKNOWN, CONTROL, USER_DEFINED)
_ENDS: Final = ("bos", "eos", "eot", "eom")
# How markers of turns are written: <|im_start|>, <s>, [INST], ◁think▷.
_MARKER: Final = re.compile(r"[<\[◁](?=.*[^\W\d_])\S+[>\]▷]")


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a file, by id.

    Attributes:
        tokens: their text.
        types: numbers of `gguf.TokenType`.
        scores: SentencePiece's; () where the file has none.
        merges: pairs in order; None where the file has none.
    """

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...]
    merges: tuple[tuple[str, str], ...] | None

    @cached_property
    def ids(self) -> dict[str, int]:
        """Ids by text."""
        return {token: id_ for id_, token in enumerate(self.tokens)}

    def merges_by_score(self, ids: Mapping[str, int]) -> list[tuple[str, str]]:
        """Return the merges that follow from SentencePiece's scores, the best first.

        Every pair of tokens that makes a third is one, with the score of that third, as transformers'
        `generate_merges` has it. Control tokens and bytes are never made of text. User-defined tokens come first: 0
        is their score in SentencePiece, whatever a converter wrote. Where all scores are the same, as converters write
        that did not know them, the order of the ids is that of the scores.
        """
        made = (NORMAL, USER_DEFINED, UNUSED)
        scores = self._told_apart()
        found: list[tuple[float, str, str]] = []
        for id_, (token, type_) in enumerate(zip(self.tokens, self.types, strict=True)):
            if type_ in made:
                score = 0.0 if type_ == USER_DEFINED else scores[id_]
                cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
                pairs = [(left, right) for left, right in cuts if left in ids and right in ids]
                pairs.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
                found += [(score, left, right) for left, right in pairs]
        found.sort(key=lambda merge: (merge[0], len(merge[1]), len(merge[2])), reverse=True)
        return [(left, right) for _, left, right in found]

    def _told_apart(self) -> tuple[float, ...]:
        normal = {score for score, type_ in zip(self.scores, self.types, strict=True) if type_ == NORMAL}
        return self.scores if len(normal) > 1 else tuple(-float(id_) for id_ in range(len(self.tokens)))


def read_vocabulary(reader: GGUFReader, path: Path, *, spaces: bool) -> Vocabulary:
    """Return the vocabulary of a file; `spaces` if its tokens write spaces as the letter of SentencePiece.

    Raises:
        CheckpointError: a list is missing, or the lists do not fit together.
    """
    tokens = value_of(reader, "tokenizer.ggml.tokens")
    if not tokens:
        raise CheckpointError(f"{path.name} has no tokens (tokenizer.ggml.tokens); {INSTEAD}")
    types = [int(type_) for type_ in value_of(reader, "tokenizer.ggml.token_type") or ()]
    if not types:
        raise CheckpointError(
            f"{path.name} does not say which tokens are control tokens (tokenizer.ggml.token_type): {_CONVERT}"
        )
    scores = [float(score) for score in value_of(reader, "tokenizer.ggml.scores") or []]
    merges = value_of(reader, "tokenizer.ggml.merges")
    if len(types) != len(tokens) or (scores and len(scores) != len(tokens)):
        raise CheckpointError(
            f"{path.name} has {len(tokens)} tokens, {len(types)} types and {len(scores)} scores of tokens; {INSTEAD}"
        )
    if merges is None and not (spaces and scores):
        raise CheckpointError(f"{path.name} says neither merges nor scores of its tokens; {INSTEAD}")
    if spaces:  # converters write those of user-defined tokens as spaces
        tokens = [
            token.replace(" ", _SPACE) if type_ == USER_DEFINED else token
            for token, type_ in zip(tokens, types, strict=True)
        ]
    _refuse_twins(tokens, path)
    pairs = None if merges is None else tuple(_pair(merge, path) for merge in merges)
    return Vocabulary(tuple(tokens), tuple(types), tuple(scores), pairs)


def check_markers(reader: GGUFReader, path: Path, vocabulary: Vocabulary) -> None:
    """Refuse a file by whose types a marker of turns is ordinary text, which would be read letter by letter.

    Markers are the tokens that the header names as begin or end, and what is written as one in the chat template,
    where no merge makes it.

    Raises:
        CheckpointError: names the tokens.
    """
    template = str(value_of(reader, "tokenizer.chat_template") or "")
    named = {value_of(reader, f"tokenizer.ggml.{name}_token_id") for name in _ENDS}
    spelled = [
        (id_, token)
        for id_, (token, type_) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if type_ not in _READ_WHOLE and len(token) > 1 and (id_ in named or (token in template and _is_marker(token)))
    ]
    if not spelled:
        return
    merges = vocabulary.merges_by_score(vocabulary.ids) if vocabulary.merges is None else vocabulary.merges
    made = {left + right for left, right in merges}
    wrong = [
        f"{token!r} ({id_})" for id_, token in spelled if token not in made or (id_ in named and _is_marker(token))
    ]
    if wrong:
        raise CheckpointError(
            f"{path.name} says by tokenizer.ggml.token_type that {', '.join(wrong[:6])} "
            f"{'is' if len(wrong) == 1 else 'are'} ordinary text, which mark where a text or a turn begins and ends: "
            f"{_CONVERT}"
        )


def _is_marker(token: str) -> bool:
    return _MARKER.fullmatch(token) is not None


def _pair(merge: str, path: Path) -> tuple[str, str]:
    left, space, right = merge.partition(" ")
    if not (left and space and right):
        raise CheckpointError(f"{path.name} has the merge {merge!r}, which is no pair of tokens; {INSTEAD}")
    return left, right


def _refuse_twins(tokens: list[str], path: Path) -> None:
    if len(set(tokens)) == len(tokens):
        return
    seen: dict[str, int] = {}
    for id_, token in enumerate(tokens):
        if token in seen:
            raise CheckpointError(f"{path.name} has the token {token!r} twice ({seen[token]} and {id_}); {INSTEAD}")
        seen[token] = id_
