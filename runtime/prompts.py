"""Record to token ids: template, chat wrapper, tokeniser, length check."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lager_onnx.models.errors import JudgeFolderError, RecordError
from lager_onnx.models.spec import TOKENIZER_FILE, JudgeSpec
from lager_onnx.models.template import text_field


@dataclass(frozen=True)
class Turns:
    """The two turns of a prompt: the user's, and what the judge said in its own before it grades (may be empty)."""

    user: str
    feedback: str = ""


class PromptEncoder:
    """Makes prompts for one judge.

    A record is text from outside: a response may hold "<|im_end|>" or the opening of an assistant's turn. Such
    special tokens are encoded as the characters that they are, so that no response can end its own turn and
    write its own grade.
    """

    def __init__(self, folder: Path, spec: JudgeSpec):
        self.spec = spec
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        except Exception as error:  # the Rust library raises bare Exception
            raise JudgeFolderError(
                f"cannot read {folder / TOKENIZER_FILE} ({error}): export the judge again"
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        special = [token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.special]
        longest_first = sorted(special, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens that the tokeniser knows."""
        return int(self._tokenizer.get_vocab_size())

    def turns(self, record: Mapping[str, Any]) -> Turns:
        """The turns for a record. Raises `RecordError` where the record cannot be graded."""
        if not isinstance(record, Mapping):
            raise RecordError(f"a record must be an object with fields, not {type(record).__name__}")
        prefix = self.spec.chat.answer_prefix
        turns = Turns(
            self.spec.template.fill(record, scale=self.spec.scale, answer_prefix=prefix),
            text_field(record, "feedback", optional=True).strip(),
        )
        try:
            self._wrap(turns).encode()
        except UnicodeEncodeError as error:
            raise RecordError(f"the text holds half of a surrogate pair ({error}): mend its encoding") from error
        return turns

    def text(self, record: Mapping[str, Any]) -> str:
        """The whole text that the judge reads, wrapper and answer prefix included."""
        return self._wrap(self.turns(record))

    def encode(self, prompts: Sequence[Turns]) -> list[list[int]]:
        """Token ids of whole prompts."""
        encodings = self._tokenizer.encode_batch_fast(list(map(self._wrap, prompts)), add_special_tokens=False)
        return [
            self._encode_literally(turns)
            if self._special.search(f"{turns.user}\n{turns.feedback}")
            else list(encoding.ids)
            for turns, encoding in zip(prompts, encodings, strict=True)
        ]

    def check_length(self, tokens: int) -> None:
        """Raises `RecordError` for a prompt that is longer than the judge's context; none is ever cut."""
        if tokens > self.spec.context_length:
            raise RecordError(
                f"the prompt has {tokens} tokens, the judge reads {self.spec.context_length} at most: "
                "shorten the record, or pass over such records with --on-error skip"
            )

    def _wrap(self, turns: Turns) -> str:
        return self.spec.chat.wrap(turns.user, turns.feedback)

    def _encode_literally(self, turns: Turns) -> list[int]:
        """Ids of a prompt whose turns hold special tokens, which are taken as plain characters.

        Special tokens cut a text into parts that are encoded on their own, so those of the wrapper can be encoded
        apart from the turns, in which nothing is special.
        """
        chat, prompt = self.spec.chat, self._wrap(turns)
        front = max((match.end() for match in self._special.finditer(chat.before)), default=0)
        header = [match.span() for match in self._special.finditer(chat.after)]
        if not header:  # nothing cuts the prompt after the user's turn
            return [*self._ids(chat.before[:front]), *self._literal_ids(prompt[front:])]
        first, last = header[0][0], header[-1][1]
        answer = chat.after[last:] + chat.opening(turns.feedback)
        user = prompt[front : len(prompt) - len(chat.after[first:last] + answer)]
        return [
            *self._ids(chat.before[:front]),
            *self._literal_ids(user),
            *self._ids(chat.after[first:last]),
            *self._literal_ids(answer),
        ]

    def _literal_ids(self, text: str) -> list[int]:
        return list(self._literal.encode(text, add_special_tokens=False).ids)

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @cached_property
    def _literal(self) -> Tokenizer:
        literal = Tokenizer.from_str(self._tokenizer.to_str())
        literal.encode_special_tokens = True
        return literal
