"""Writes texts token by token, several at once, and grades each as soon as it is written: continuous batching."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np
import onnxruntime

from lager_onnx.models.errors import RecordError
from lager_onnx.models.graph import ATTENTION_MASK, INPUT_IDS, NEXT_LOGITS, PAST_LENGTH, WRITERS
from lager_onnx.runtime.kv_cache import Array, KVCache
from lager_onnx.runtime.prefill import Prefill, bind_input, common_prefix
from lager_onnx.runtime.session import grading_errors


@dataclass(frozen=True)
class Text:
    """A text to be written, and graded.

    Attributes:
        prompt: token ids that it stands behind.
        limit: most tokens of it.
        choose: gives the next token for the logits of all, (tokens,).
        ended: whether it ends with what has been written.
        graded: the prompt to grade for what was written, or why it is not graded.
    """

    prompt: list[int]
    limit: int
    choose: Callable[[Array], int]
    ended: Callable[[list[int]], bool]
    graded: Callable[[list[int]], list[int] | RecordError]


@dataclass(frozen=True)
class Written:
    """A text that was written: its tokens, and the graph's outputs for it, without the batch axis."""

    tokens: list[int]
    outputs: dict[str, Array]


@dataclass
class _Slot:
    """A place in the batch, with a part of the KV cache; what is written there, nothing while it rests."""

    prefill: Prefill
    number: int = -1
    text: Text | None = None
    written: list[int] = field(default_factory=list)

    def rest(self) -> None:
        """Is free for the next text."""
        self.text, self.written = None, []


class Decoder:
    """A session with a KV cache for several texts; all of them take a token in each run.

    A run reads all weights, however many texts it serves, which on a CPU is most of its time: eight texts take two to
    three times as long as one. Where one ends, the next begins. A prompt is prefilled alone; what it shares with one
    that is there is copied.

    Args:
        session: of a judge that writes.
        slots: most texts at once.
        tokens: most tokens of a prompt with its text.
        chunk_tokens: about how many tokens of a prompt run at once.
        packed: whether the session's weights are. With others, a product of one row rounds otherwise than one of
            several: two slots run at least, so that a text does not depend on those beside it.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        *,
        slots: int,
        tokens: int,
        chunk_tokens: int,
        packed: bool = True,
    ):
        self._session, self._chunk = session, chunk_tokens
        self._fewest = 1 if packed else 2
        slots = max(slots, self._fewest)
        self._cache = KVCache.make(session, slots, tokens + 1)  # a slot that rests is written to, behind its prompt
        self._slots = [
            _Slot(Prefill(session, chunk_tokens=chunk_tokens, cache=self._cache.part(slot, slot + 1)))
            for slot in range(slots)
        ]
        self._bindings: dict[int, onnxruntime.IOBinding] = {}
        self._decoded = 0

    @property
    def room(self) -> tuple[int, int]:
        """Most texts at once, and most tokens of each."""
        return len(self._slots), self._cache.tokens - 1

    @property
    def tokens(self) -> int:
        """How many tokens have run so far."""
        return self._decoded + sum(slot.prefill.tokens for slot in self._slots)

    def run(
        self, texts: Iterable[tuple[int, Text]], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Written | RecordError]]:
        """Writes and grades texts.

        Args:
            texts: each with a number; the next one is taken when there is a slot for it.
            stopped: asked before every token; once it says so, texts are left unfinished.

        Yields:
            Number and result of each text, as it is done.

        Raises:
            GradingError: onnxruntime could not run.
        """
        waiting = iter(texts)
        try:
            while not stopped():
                for slot in self._slots:
                    while slot.text is None and (taken := next(waiting, None)) is not None:
                        slot.number, slot.text = taken
                        self._begin(slot, slot.text)
                        yield from self._done(slot)
                if all(slot.text is None for slot in self._slots):
                    return
                self._step()
                for slot in self._slots:
                    yield from self._done(slot)
        finally:
            for slot in self._slots:
                slot.rest()

    def _begin(self, slot: _Slot, text: Text) -> None:
        own = common_prefix(slot.prefill.cached, text.prompt)
        shared, nearest = max(
            ((common_prefix(other.prefill.cached, text.prompt), other) for other in self._slots), key=itemgetter(0)
        )
        if shared > own:
            slot.prefill.copy_cache(nearest.prefill, shared)
        slot.written = [text.choose(slot.prefill.next_logits(text.prompt))]

    def _done(self, slot: _Slot) -> Iterator[tuple[int, Written | RecordError]]:
        """Grades a text that has ended, and frees its slot."""
        text, written = slot.text, slot.written
        if text is None or not (len(written) == text.limit or text.ended(written)):
            return
        slot.rest()
        graded = text.graded(written)
        if isinstance(graded, RecordError):
            yield slot.number, graded
        else:
            yield slot.number, Written(written, self._prefill_for(slot, graded).grade_one(graded))

    def _prefill_for(self, slot: _Slot, prompt: list[int]) -> Prefill:
        """The slot's, or one with more room: the tokens of a text may be more than those that were written."""
        return slot.prefill if len(prompt) <= self.room[1] else Prefill(self._session, chunk_tokens=self._chunk)

    def _step(self) -> None:
        """Writes a token of every text. Slots that rest, between others, run along."""
        rows = max(self._fewest, 1 + max(number for number, slot in enumerate(self._slots) if slot.text is not None))
        slots = self._slots[:rows]
        binding = self._binding(rows)
        last = [slot.written[-1:] or [0] for slot in slots]
        lengths = [len(slot.prefill.cached) + max(0, len(slot.written) - 1) for slot in slots]
        bind_input(binding, INPUT_IDS, np.asarray(last, dtype=np.int64))
        bind_input(binding, PAST_LENGTH, np.asarray(lengths, dtype=np.int32))
        with grading_errors(rows, max(lengths)):
            self._session.run_with_iobinding(binding)
        logits = binding.get_outputs()[0].numpy()
        for slot, row in zip(slots, logits, strict=True):
            if slot.text is not None:
                slot.written.append(slot.text.choose(row))
                self._decoded += 1

    def _binding(self, rows: int) -> onnxruntime.IOBinding:
        """For so many of the first slots."""
        if rows not in self._bindings:
            binding = self._session.io_binding()
            binding.bind_output(NEXT_LOGITS, "cpu")
            bind_input(binding, WRITERS, np.asarray([rows], np.int64))
            bind_input(binding, ATTENTION_MASK, np.ones((rows, 1), np.int64))
            self._cache.part(0, rows).bind(binding)
            self._bindings[rows] = binding
        return self._bindings[rows]
