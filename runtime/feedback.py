"""Lets a judge write feedback before it grades: the paper's condition with reasoning."""

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Final

import numpy as np

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.decode import Text, Written
from lager_onnx.runtime.engines.base import Engine, Outputs
from lager_onnx.runtime.grade import Feedback
from lager_onnx.runtime.kv_cache import Array
from lager_onnx.runtime.prepared import Prepared
from lager_onnx.runtime.prompts import PromptEncoder, Turns

_BLANKS: Final = 3  # behind the answer prefix; more of them name no grade


@dataclass(frozen=True)
class Reasoning:
    """How a judge writes.

    Attributes:
        max_tokens: most tokens of a feedback, its grade included.
        drop: a record whose feedback names no grade is an error, as the paper leaves such samples out; otherwise it is
            graded behind what was written.
        samples: how many feedbacks are written for a record; its score is their mean (self-consistency).
        temperature: of what is drawn; 0 for the likeliest token, always.
        seed: of what is drawn: the same feedback for the same prompt, whatever is graded beside it.

    Raises:
        ValueError: several samples without a temperature, which would be the same.
    """

    max_tokens: int = 256
    drop: bool = False
    samples: int = 1
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.temperature < 0 or self.max_tokens < 1:
            raise ValueError("samples and max_tokens must be 1 at least, temperature 0")
        if self.samples > 1 and not self.temperature:
            raise ValueError("several samples need a temperature above 0: without, they are all the same")


class FeedbackWriter:
    """What is written for each record, and what is made of it.

    Args:
        encoder: of the judge.
        reasoning: how it writes.
    """

    def __init__(self, encoder: PromptEncoder, reasoning: Reasoning):
        self._encoder, self._reasoning = encoder, reasoning
        writing = encoder.spec.writing
        self._end_tokens = frozenset(writing.end_tokens if writing else ())
        # Judges write "Score: 4" where they were asked for "score: 4".
        self._prefix = re.compile(re.escape(encoder.spec.chat.answer_prefix.strip()), re.IGNORECASE)

    def write(
        self, engine: Engine, window: Sequence[Prepared]
    ) -> Iterator[list[tuple[Outputs, Feedback]] | RecordError | None]:
        """Starts to write and grade records, and returns at once.

        What it returns gives for each record, in order, outputs and feedback of every sample, or why it cannot be
        graded; None for one that cannot be read.
        """
        asked = [self._texts(prepared) for prepared in window]
        written = engine.write([text for texts in asked if isinstance(texts, list) for text in texts])
        return (self._read(prepared, texts, written) for prepared, texts in zip(window, asked, strict=True))

    def texts(self, turns: Turns) -> list[Text]:
        """The texts to write for a record, one a sample.

        Raises:
            RecordError: it has feedback already, or leaves no room for any.
        """
        if turns.feedback:
            raise RecordError("the record has feedback already: grade it without reasoning")
        prompt = self._encoder.opening_ids(turns)
        room = self._encoder.spec.context_length - len(prompt) - self._encoder.prefix_tokens - 1
        if room < 1:
            raise RecordError(
                f"the prompt has {len(prompt)} tokens of {self._encoder.spec.context_length}: no room is left for "
                "feedback. Shorten the record"
            )
        limit, graded = min(self._reasoning.max_tokens, room), partial(self._graded, turns)
        return [
            Text(prompt, limit, self._choice(prompt, sample), self._ended, graded)
            for sample in range(self._reasoning.samples)
        ]

    def feedback(self, turns: Turns, written: list[int]) -> Feedback:
        """What the tokens say that were written for a record."""
        at_end = written[-1] in self._end_tokens
        text = self._encoder.decode(written[:-1] if at_end else written).strip()
        before, *behind = self._prefix.split(text, maxsplit=1)
        scale = turns.question.scale if turns.question else self._encoder.spec.scale
        labels = "|".join(re.escape(label) for label in sorted(scale.labels, key=len, reverse=True))
        if behind:
            named = re.match(labels, behind[0].strip())
            return Feedback(before.strip(), "prefix", named[0] if named else None, len(written))
        if at_end and (grade := _grade_at_the_end(text, labels)):
            return Feedback(text[: grade.start()].strip(), "end", grade[1], len(written))
        return Feedback(text, "end" if at_end else "limit", None, len(written))

    def _texts(self, prepared: Prepared) -> list[Text] | RecordError:
        try:
            return self.texts(prepared.turns) if prepared.turns else []
        except RecordError as error:  # of this record alone
            return error

    def _read(
        self, prepared: Prepared, texts: list[Text] | RecordError, written: Iterator[Written | RecordError]
    ) -> list[tuple[Outputs, Feedback]] | RecordError | None:
        if isinstance(texts, RecordError):
            return texts
        if prepared.turns is None:
            return None
        found = list(islice(written, len(texts)))
        errors = [each for each in found if isinstance(each, RecordError)]
        if errors:
            return errors[0]
        turns = prepared.turns
        return [(each.outputs, self.feedback(turns, each.tokens)) for each in found if isinstance(each, Written)]

    def _graded(self, turns: Turns, written: list[int]) -> list[int] | RecordError:
        """The prompt that is graded: what was written is part of it."""
        feedback = self.feedback(turns, written)
        if self._reasoning.drop and feedback.named is None:
            return RecordError(
                f"the judge named no grade in {feedback.tokens} tokens (its feedback ended at: {feedback.ended})"
            )
        try:
            return self._encoder.ids(replace(turns, feedback=feedback.text))
        except RecordError as error:
            return error

    def _choice(self, prompt: list[int], sample: int) -> Callable[[Array], int]:
        """How the next token is chosen from the logits of all."""
        temperature = self._reasoning.temperature
        if not temperature:
            return lambda logits: int(logits.argmax())
        random = np.random.default_rng([self._reasoning.seed, sample, zlib.crc32(np.asarray(prompt).tobytes())])

        def drawn(logits: Array) -> int:
            shares = np.exp((logits - logits.max()).astype(np.float64) / temperature).cumsum()
            return int(shares.searchsorted(random.random() * shares[-1], side="right"))

        return drawn

    def _ended(self, written: list[int]) -> bool:
        if written[-1] in self._end_tokens:
            return True
        _, *behind = self._prefix.split(self._encoder.decode(written), maxsplit=1)
        return bool(behind) and (bool(behind[0].strip()) or len(behind[0]) > _BLANKS)


def _grade_at_the_end(text: str, labels: str) -> re.Match[str] | None:
    """A last sentence or line that ends in a grade: "Grade: 4", "So it gets a 4 out of 5." or "4"; not in 4.5 or 40."""
    sentence = r"(?:^|(?<=[.!?]\s)|(?<=\n))(?:[^.!?\n]|[.!?](?=\S))*?"
    return re.search(rf"{sentence}(?<![\w.,-])({labels})(?:\s*(?:/|out of|of)\s*\w+)?\W*$", text)
