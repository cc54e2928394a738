"""Reads control tokens inside a record as the characters that they are."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from secrets import token_hex
from typing import Any

from tokenizers import AddedToken, Tokenizer

from lager_onnx.models.chat import ChatWrapper


class LiteralEncoder:
    """A tokeniser that knows control tokens in the chat wrapper, and none in the turns.

    In the wrapper they are written under other names, which nobody can guess, so that the whole prompt is still
    encoded at once, and all other ids are those of the tokeniser itself.

    Args:
        tokenizer: the judge's.
        control: its control tokens by id.
    """

    def __init__(self, tokenizer: Tokenizer, control: Mapping[int, AddedToken]):
        self._original, self._control = tokenizer, dict(control)
        secret = token_hex(8)
        self._names = {token.content: f"\U000f0000{secret}-{id_}\U000f0001" for id_, token in control.items()}
        longest_first = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def encode(self, chat: ChatWrapper, user: str, feedback: str) -> list[int]:
        """Return the ids of a prompt; control tokens in its two turns are plain characters."""
        tokenizer, ids = self._renamed
        before, after = (self._pattern.sub(self._name, part) for part in (chat.before, chat.after))
        text = replace(chat, before=before, after=after).wrap(user, feedback)
        return [ids.get(id_, id_) for id_ in tokenizer.encode(text, add_special_tokens=False).ids]

    def _name(self, match: re.Match[str]) -> str:
        return self._names[match[0]]

    @cached_property
    def _renamed(self) -> tuple[Tokenizer, dict[int, int]]:
        """The tokeniser that reads control tokens as characters, and the original id of each of the other names.

        All added tokens stay, so that ids do: tokenizers numbers those anew that are not in the vocabulary.
        """
        content = json.loads(self._original.to_str())
        for token in content["added_tokens"]:
            token["special"] = token["id"] in self._control
        content["post_processor"] = None  # not used; it may name other tokens
        _forget_merges(content["model"], set(self._names))
        renamed = _rename_pieces(content["model"], self._names)
        content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in renamed]
        tokenizer = Tokenizer.from_str(json.dumps(content))
        tokenizer.encode_special_tokens = True
        named = {self._names[token.content]: (id_, token) for id_, token in self._control.items()}
        tokenizer.add_tokens([_as(name, token) for name, (_, token) in named.items()])
        return tokenizer, {tokenizer.token_to_id(name): id_ for name, (id_, _) in named.items()}


def _as(name: str, token: AddedToken) -> AddedToken:
    """The same token under another name."""
    return AddedToken(
        name,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=False,
    )


def _forget_merges(model: dict[str, object], control: set[str]) -> None:
    """Remove merges that make a control token of its characters, as some conversions of SentencePiece have."""
    merges = model.get("merges")
    if isinstance(merges, list):
        model["merges"] = [merge for merge in merges if _made(merge) not in control]


def _rename_pieces(model: dict[str, Any], names: Mapping[str, str]) -> set[str]:
    """Give control tokens the other names in a vocabulary that text is looked up in; return which.

    Unigram and word models find any entry in a text. BPE makes tokens by merges alone, unless it ignores them.
    """
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):  # Unigram's: pieces with scores
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
        return {str(piece) for piece, _ in vocabulary if piece in names}
    if model.get("merges") is not None and not model.get("ignore_merges"):
        return set()
    parts = {part for merge in model.get("merges", ()) for part in _parts(merge)}
    found: set[str] = (set(vocabulary) & set(names)) - parts - {model.get("unk_token")}
    model["vocab"] = {names[piece] if piece in found else piece: id_ for piece, id_ in vocabulary.items()}
    return found


def _parts(merge: object) -> tuple[str, ...]:
    return tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) if isinstance(merge, list) else ()


def _made(merge: object) -> str:
    return merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge) if isinstance(merge, list) else ""
