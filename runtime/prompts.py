"""Record to token ids: template, chat wrapper, tokeniser, length check."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lager_onnx.models.errors import JudgeFolderError, RecordError
from lager_onnx.models.spec import TOKENIZER_FILE, JudgeSpec


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

    def user_turn(self, record: Mapping[str, Any]) -> str:
        """The user's turn for a record. Raises `RecordError` where the record cannot be graded."""
        if not isinstance(record, Mapping):
            raise RecordError(f"a record must be an object with fields, not {type(record).__name__}")
        prefix = self.spec.chat.answer_prefix
        turn = self.spec.template.fill(record, scale=self.spec.scale, answer_prefix=prefix)
        try:
            turn.encode()
        except UnicodeEncodeError as error:
            raise RecordError(f"the text holds half of a surrogate pair ({error}): mend its encoding") from error
        return turn

    def text(self, record: Mapping[str, Any]) -> str:
        """The whole text that the judge reads, wrapper and answer prefix included."""
        return self.spec.chat.wrap(self.user_turn(record))

    def encode(self, turns: Sequence[str]) -> list[list[int]]:
        """Token ids of whole prompts, one a user's turn."""
        encodings = self._tokenizer.encode_batch_fast(
            [self.spec.chat.wrap(turn) for turn in turns], add_special_tokens=False
        )
        return [
            self._encode_literally(turn) if self._special.search(turn) else list(encoding.ids)
            for turn, encoding in zip(turns, encodings, strict=True)
        ]

    def check_length(self, tokens: int) -> None:
        """Raises `RecordError` for a prompt that is longer than the judge's context; none is ever cut."""
        if tokens > self.spec.context_length:
            raise RecordError(
                f"the prompt has {tokens} tokens, the judge reads {self.spec.context_length} at most: "
                "shorten the record, or pass over such records with --on-error skip"
            )

    def _encode_literally(self, turn: str) -> list[int]:
        """Ids of a prompt whose user's turn holds special tokens, which are taken as plain characters.

        Special tokens cut a text into parts that are encoded on their own, so the wrapper's outer parts can be
        encoded apart from the middle, in which nothing is special.
        """
        chat = self.spec.chat
        front = max((match.end() for match in self._special.finditer(chat.before)), default=0)
        first = self._special.search(chat.after)
        back = first.start() if first else len(chat.after)
        prompt, after = chat.wrap(turn), chat.after[back:] + chat.answer_prefix
        if first is None:  # nothing cuts the prompt after the turn
            after = ""
        middle = prompt[front : len(prompt) - len(after)]
        return [
            *self._ids(chat.before[:front]),
            *self._literal.encode(middle, add_special_tokens=False).ids,
            *self._ids(after),
        ]

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @cached_property
    def _literal(self) -> Tokenizer:
        literal = Tokenizer.from_str(self._tokenizer.to_str())
        literal.encode_special_tokens = True
        return literal
