"""Record to token ids: template, chat wrapper, tokeniser, length check."""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from tokenizers import Tokenizer

from lager_onnx.models.chat import FEEDBACK, is_control
from lager_onnx.models.cure import Cure, Notice
from lager_onnx.models.errors import JudgeFolderError, RecordError
from lager_onnx.models.question import Question, read_question
from lager_onnx.models.spec import TOKENIZER_FILE, JudgeSpec
from lager_onnx.models.template import Template
from lager_onnx.models.values import is_missing, text_field, visible
from lager_onnx.runtime.literal import LiteralEncoder
from lager_onnx.runtime.records.layouts import as_judged
from lager_onnx.runtime.records.record import as_record
from lager_onnx.runtime.records.subject import one_subject
from lager_onnx.runtime.records.unread import unread

# No tokeniser makes tokens of that many characters on average; longer texts are refused before they are encoded.
_CHARACTERS_A_TOKEN: Final = 64
_TOO_LONG: Final = Cure(
    command="shorten the record, or pass over such records with --on-error skip",
    python='shorten the record, or pass over such records with on_error="skip"',
    http="shorten the record",
)


@dataclass(frozen=True)
class Turns:
    """The two turns of a prompt: the user's, and what the judge said in its own before it grades (may be empty).

    Attributes:
        user, feedback: the turns.
        question: what is asked; None for a score on the judge's own scale.
        unread: what the user gave on purpose and none of this holds.
    """

    user: str
    feedback: str = ""
    question: Question | None = None
    unread: tuple[Notice, ...] = field(default=(), compare=False)


class PromptEncoder:
    """Makes prompts for one judge.

    A record is text from outside: a response may hold "<|im_end|>" or the opening of an assistant's turn. Such control
    tokens (the special ones, and the markers that the chat wrapper is made of; see `is_control`) are encoded as the
    characters that they are, so that no response can end its own turn and write its own grade.
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
        round_turn = f"{spec.chat.before}\n{spec.chat.after}"
        self._control = {
            id_: token
            for id_, token in self._tokenizer.get_added_tokens_decoder().items()
            if is_control(token.content, special=token.special) and (token.special or token.content in round_turn)
        }
        self._control_ids = np.fromiter(self._control, np.int64, len(self._control))
        self._own_control = self._count_control(self._encode(self._wrap(Turns("x"))))

    def with_spec(self, spec: JudgeSpec) -> "PromptEncoder":
        """The same judge's encoder for other prompts: another template, or other text round it."""
        other = copy(self)
        other.spec = spec
        other._own_control = other._count_control(other._encode(other._wrap(Turns("x"))))
        return other

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens that the tokeniser knows."""
        return int(self._tokenizer.get_vocab_size())

    def turns(self, record: Mapping[str, Any]) -> Turns:
        """Return the turns for a record; `feedback` is the judge's own only where the user has named it so.

        Raises:
            RecordError: the record cannot be graded.
        """
        found = as_record(record)
        question = read_question(found, self.spec.scale)
        template = self._template(found, question)
        judged, prefix = as_judged(found, reads=template.fields), self.spec.chat.answer_prefix
        if template.name == "question":
            judged = one_subject(judged)
        turns = Turns(
            text_field(judged, "prompt")
            if judged.layout == "prompt"
            else template.fill(judged, question=question, answer_prefix=prefix),
            text_field(judged, "feedback", optional=True).strip() if "feedback" in judged.asked else "",
            question if question != Question(self.spec.scale) else None,
            unread(judged, template.name, template.fields, question),
        )
        text = self._wrap(turns)
        if len(text) > _CHARACTERS_A_TOKEN * self.spec.context_length:
            raise RecordError(
                f"the prompt has {len(text)} characters, too many for the {self.spec.context_length} tokens that the "
                "judge reads at most",
                _TOO_LONG,
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RecordError(f"the text holds half of a surrogate pair ({error}): mend its encoding") from error
        return turns

    def _template(self, record: Mapping[str, Any], question: Question) -> Template:
        """The judge's own, but where it has no place for the question that comes with choices or levels."""
        own = self.spec.template
        asks = question.choice or ("levels" in record and not is_missing(record.get("question")))
        return self._question_template if asks and "question" not in own.fields else own

    @cached_property
    def _question_template(self) -> Template:
        return Template.load("question")

    def text(self, record: Mapping[str, Any]) -> str:
        """The whole text that the judge reads, wrapper and answer prefix included."""
        return self._wrap(self.turns(record))

    def encode(self, prompts: Sequence[Turns]) -> list[list[int] | RecordError]:
        """Token ids of whole prompts; an error in the place of one that the judge cannot read."""
        encodings = self._tokenizer.encode_batch_fast(list(map(self._wrap, prompts)), add_special_tokens=False)
        found: list[list[int] | RecordError] = []
        for turns, encoding in zip(prompts, encodings, strict=True):
            try:
                found.append(self._checked(turns, list(encoding.ids)))
            except RecordError as error:
                found.append(error)
        return found

    def ids(self, turns: Turns) -> list[int]:
        """Token ids of one prompt.

        Raises:
            RecordError: the judge cannot read it.
        """
        (ids,) = self.encode([turns])
        if isinstance(ids, RecordError):
            raise ids
        return ids

    def opening_ids(self, turns: Turns) -> list[int]:
        """Token ids of a prompt up to where the judge goes on with its feedback.

        Raises:
            RecordError: the judge cannot read it.
        """
        ids = self.ids(replace(turns, feedback=""))
        return [*ids[: len(ids) - self.prefix_tokens], *self._encode(FEEDBACK)]

    @cached_property
    def prefix_tokens(self) -> int:
        """How many tokens the answer prefix has; the exporter has proven that they stand apart from what is before."""
        return len(self._encode(self.spec.chat.answer_prefix))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without control tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _checked(self, turns: Turns, ids: list[int]) -> list[int]:
        """The ids, or those of the careful way where the record holds control tokens.

        Raises:
            RecordError: the prompt is too long, or holds what the judge cannot read.
        """
        if self._count_control(ids) != self._own_control:
            ids = self._encode_literally(turns)
            if self._count_control(ids) != self._own_control:
                raise RecordError(
                    "the text holds control tokens of the judge that its tokeniser cannot read as plain characters: "
                    f"take them out ({', '.join(self._surplus_control(ids))})"
                )
        if len(ids) > self.spec.context_length:
            raise RecordError(
                f"the prompt has {len(ids)} tokens, the judge reads {self.spec.context_length} at most", _TOO_LONG
            )
        beyond = next((id_ for id_ in ids if id_ >= self.spec.vocabulary), None)
        if beyond is not None:
            raise RecordError(
                f"the text holds the token '{visible(self._tokenizer.id_to_token(beyond))}' ({beyond}), which the "
                f"tokeniser knows, but not the judge's embedding of {self.spec.vocabulary} tokens: take it out"
            )
        return ids

    def _surplus_control(self, ids: list[int]) -> list[str]:
        """Control tokens that a prompt has more of than the wrapper, in their order."""
        own = Counter(self._encode(self._wrap(Turns("x"))))
        return [self._control[id_].content for id_ in Counter(ids) - own if id_ in self._control]

    def _count_control(self, ids: list[int]) -> int:
        return int(np.isin(ids, self._control_ids).sum())

    def _wrap(self, turns: Turns) -> str:
        return self.spec.chat.wrap(turns.user, turns.feedback)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _encode_literally(self, turns: Turns) -> list[int]:
        """Ids of a prompt whose turns hold control tokens, which are taken as plain characters."""
        return self._literal.encode(self.spec.chat, turns.user, turns.feedback)

    @cached_property
    def _literal(self) -> LiteralEncoder:
        return LiteralEncoder(self._tokenizer, self._control)
