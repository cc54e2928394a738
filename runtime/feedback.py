"""Lets a judge write feedback before it grades: the paper's condition with reasoning."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.engines.base import Outputs
from lager_onnx.runtime.grade import Feedback
from lager_onnx.runtime.prefill import Array, Prefill
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
    """Writes and grades, one record after another.

    Args:
        encoder: of the judge.
        reasoning: how it writes.
    """

    def __init__(self, encoder: PromptEncoder, reasoning: Reasoning):
        self._encoder, self._reasoning = encoder, reasoning
        writing = encoder.spec.writing
        self._end_tokens = frozenset(writing.end_tokens if writing else ())
        self._prefix = encoder.spec.chat.answer_prefix.strip()

    def work(self, turns: Turns) -> Callable[[Prefill], list[tuple[Outputs, Feedback]] | RecordError]:
        """What an engine does for a record: writes and grades what was written, as often as there are samples."""

        def write_and_grade(prefill: Prefill) -> list[tuple[Outputs, Feedback]] | RecordError:
            found = []
            for sample in range(self._reasoning.samples):
                try:
                    feedback, ids = self._written(prefill, turns, sample)
                except RecordError as error:  # of this record alone
                    return error
                found.append(({name: array[0] for name, array in prefill.grade(ids).items()}, feedback))
            return found

        return write_and_grade

    def _written(self, prefill: Prefill, turns: Turns, sample: int) -> tuple[Feedback, list[int]]:
        """Feedback, and the prompt that it is part of."""
        if turns.feedback:
            raise RecordError("the record has feedback already: grade it without reasoning")
        feedback = self._write(prefill, turns, sample)
        if self._reasoning.drop and feedback.named is None:
            raise RecordError(
                f"the judge named no grade in {feedback.tokens} tokens (its feedback ended at: {feedback.ended})"
            )
        return feedback, self._encoder.ids(replace(turns, feedback=feedback.text))

    def _write(self, prefill: Prefill, turns: Turns, sample: int) -> Feedback:
        prompt = self._encoder.opening_ids(turns)
        room = self._encoder.spec.context_length - len(prompt) - self._encoder.prefix_tokens - 1
        if room < 1:
            raise RecordError(
                f"the prompt has {len(prompt)} tokens of {self._encoder.spec.context_length}: no room is left for "
                "feedback. Shorten the record"
            )
        limit = min(self._reasoning.max_tokens, room)
        written = prefill.write(prompt, limit, self._choice(prompt, sample), self._ended)
        ended: Literal["prefix", "end", "limit"] = "limit"
        if written[-1] in self._end_tokens:
            ended, written = "end", written[:-1]
        text = self._encoder.decode(written)
        before, prefix, behind = text.partition(self._prefix)
        scale = turns.question.scale if turns.question else self._encoder.spec.scale
        labels = sorted(scale.labels, key=len, reverse=True)
        named = next((label for label in labels if prefix and behind.strip().startswith(label)), None)
        return Feedback(before.strip(), "prefix" if prefix else ended, named, len(written))

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
        _, prefix, behind = self._encoder.decode(written).partition(self._prefix)
        return bool(prefix) and (bool(behind.strip()) or len(behind) > _BLANKS)
