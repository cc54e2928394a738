"""Lets a judge write feedback before it grades: the paper's condition with reasoning."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.engines.base import Outputs
from lager_onnx.runtime.grade import Feedback
from lager_onnx.runtime.prefill import Prefill
from lager_onnx.runtime.prompts import PromptEncoder, Turns

_BLANKS: Final = 3  # behind the answer prefix; more of them name no grade


@dataclass(frozen=True)
class Reasoning:
    """How a judge writes.

    Attributes:
        max_tokens: most tokens of a feedback, its grade included.
        drop: a record whose feedback names no grade is an error, as the paper leaves such samples out; otherwise it is
            graded behind what was written.
    """

    max_tokens: int = 256
    drop: bool = False


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

    def work(self, turns: Turns) -> Callable[[Prefill], tuple[Outputs, Feedback] | RecordError]:
        """What an engine does for a record: writes, greedily, and grades what was written."""

        def write_and_grade(prefill: Prefill) -> tuple[Outputs, Feedback] | RecordError:
            try:
                feedback, ids = self._written(prefill, turns)
            except RecordError as error:  # of this record alone
                return error
            return {name: array[0] for name, array in prefill.grade(ids).items()}, feedback

        return write_and_grade

    def _written(self, prefill: Prefill, turns: Turns) -> tuple[Feedback, list[int]]:
        """Feedback, and the prompt that it is part of."""
        if turns.feedback:
            raise RecordError("the record has feedback already: grade it without reasoning")
        feedback = self._write(prefill, turns)
        if self._reasoning.drop and feedback.named is None:
            raise RecordError(
                f"the judge named no grade in {feedback.tokens} tokens (its feedback ended at: {feedback.ended})"
            )
        return feedback, self._encoder.ids(replace(turns, feedback=feedback.text))

    def _write(self, prefill: Prefill, turns: Turns) -> Feedback:
        prompt = self._encoder.opening_ids(turns)
        room = self._encoder.spec.context_length - len(prompt) - self._encoder.prefix_tokens - 1
        if room < 1:
            raise RecordError(
                f"the prompt has {len(prompt)} tokens of {self._encoder.spec.context_length}: no room is left for "
                "feedback. Shorten the record"
            )
        written = prefill.write(
            prompt, min(self._reasoning.max_tokens, room), lambda logits: int(logits.argmax()), self._ended
        )
        ended: Literal["prefix", "end", "limit"] = "limit"
        if written[-1] in self._end_tokens:
            ended, written = "end", written[:-1]
        text = self._encoder.decode(written)
        before, prefix, behind = text.partition(self._prefix)
        labels = sorted(self._encoder.spec.scale.labels, key=len, reverse=True)
        named = next((label for label in labels if prefix and behind.strip().startswith(label)), None)
        return Feedback(before.strip(), "prefix" if prefix else ended, named, len(written))

    def _ended(self, written: list[int]) -> bool:
        if written[-1] in self._end_tokens:
            return True
        _, prefix, behind = self._encoder.decode(written).partition(self._prefix)
        return bool(prefix) and (bool(behind.strip()) or len(behind) > _BLANKS)
