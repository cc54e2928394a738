"""Prefills one prompt after another, and the prefix that a prompt shares with the one before only once."""

from itertools import pairwise
from typing import Final

import numpy as np
import onnxruntime

from lager_onnx.models.graph import ATTENTION_MASK, INPUT_IDS, NEXT_LOGITS, OUTPUTS, PAST_LENGTH, WRITERS
from lager_onnx.runtime.kv_cache import Array, KVCache
from lager_onnx.runtime.session import grading_errors

_CAPACITY_STEP = 512
# Attention takes a chunk in blocks of a multiple of so many tokens (two head sizes, for most processors); a token that
# is left alone in a block goes through other kernels, which round otherwise.
_BLOCK: Final = 16


def takes_past(session: onnxruntime.InferenceSession) -> bool:
    """Whether a session's graph takes the keys and values of earlier tokens."""
    return any(value.name == PAST_LENGTH for value in session.get_overridable_initializers())


class Prefill:
    """A session with a KV cache for one prompt.

    It keeps the prompt that ran last; the next one runs from where it departs from that. One of these serves one
    thread; several may share a session.

    Args:
        session: of a graph that takes a past; see `takes_past`.
        chunk_tokens: about how many tokens run at once.
        capacity_step: tokens by which the cache grows.
        cache: room for one prompt, which does not grow; by default, one that does.

    Attributes:
        session: as given.
        tokens: how many tokens have run so far; those of a shared prefix run once.
        cached: the prompt whose keys and values are in the cache.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        *,
        chunk_tokens: int,
        capacity_step: int = _CAPACITY_STEP,
        cache: KVCache | None = None,
    ):
        self.session, self._chunk, self._step = session, chunk_tokens, capacity_step
        self.tokens, self.cached = 0, list[int]()
        self._grading, self._writing = session.io_binding(), session.io_binding()
        for name in OUTPUTS:
            self._grading.bind_output(name, "cpu")
        if any(value.name == NEXT_LOGITS for value in session.get_outputs()):
            self._writing.bind_output(NEXT_LOGITS, "cpu")
            bind_input(self._writing, WRITERS, np.ones(1, np.int64))
        self._past_shape = past_shape(session)
        self._cache: KVCache | None = None
        if cache is not None:
            self._use(cache)

    def grade(self, prompt: list[int]) -> dict[str, Array]:
        """Grades one prompt, given as token ids.

        Returns:
            The graph's outputs by name, for a batch of one; see `run_graph`.

        Raises:
            GradingError: onnxruntime could not run.
        """
        with grading_errors(1, len(prompt)):
            self._run(prompt, self._grading)
        outputs = self._grading.get_outputs()[: len(OUTPUTS)]
        # Copied: an OrtValue's numpy() may look into memory that the next run writes to.
        return {name: output.numpy().copy() for name, output in zip(OUTPUTS, outputs, strict=True)}

    def grade_one(self, prompt: list[int]) -> dict[str, Array]:
        """`grade`, without the batch axis."""
        return {name: array[0] for name, array in self.grade(prompt).items()}

    def next_logits(self, prompt: list[int]) -> Array:
        """The logits of the token behind a prompt, of all tokens, (tokens,); the judge must be one that writes.

        Raises:
            GradingError: onnxruntime could not run.
        """
        with grading_errors(1, len(prompt)):
            self._run(prompt, self._writing)
        logits: Array = self._writing.get_outputs()[0].numpy()[0]
        return logits

    def copy_cache(self, other: "Prefill", tokens: int | None = None) -> None:
        """Copies what another one has cached, or the first tokens of it, which then need not run here."""
        cached = other.cached[:tokens]
        if other._cache is not None:
            self._reserve(len(cached)).copy(other._cache, len(cached))
        self.cached = cached

    def _run(self, prompt: list[int], binding: onnxruntime.IOBinding) -> None:
        self._reserve(len(prompt))
        bounds = chunk_bounds(common_prefix(self.cached, prompt), len(prompt), self._chunk)
        self.cached = []  # of a prompt that fails, nothing is kept
        ids = np.asarray(prompt, dtype=np.int64)[None]
        for first, end in pairwise(bounds):
            bind_input(binding, INPUT_IDS, np.ascontiguousarray(ids[:, first:end]))
            # The graph reads the mask's sum and nothing else. With a mask of the ids' own shape, onnxruntime (1.32)
            # would give runs of every length the memory plan of the first one, which fits no other length: 11% slower
            # in int8. It finds a plan by the exclusive or of all inputs' dimensions (CalculateMemoryPatternsKey): two
            # that are equal cancel out.
            bind_input(binding, ATTENTION_MASK, np.asarray([[end - first]], dtype=np.int64))
            bind_input(binding, PAST_LENGTH, np.full(self._past_shape, first, dtype=np.int32))
            self.session.run_with_iobinding(binding)
        self.tokens += len(prompt) - bounds[0]
        self.cached = prompt

    def _reserve(self, tokens: int) -> KVCache:
        """Makes the cache hold `tokens` tokens; what it held is lost when it grows."""
        if self._cache is not None and tokens <= self._cache.tokens:
            return self._cache
        self.cached, self._cache = [], None
        return self._use(KVCache.make(self.session, 1, -(-tokens // self._step) * self._step))

    def _use(self, cache: KVCache) -> KVCache:
        for binding in (self._grading, self._writing):
            cache.bind(binding)
        self._cache = cache
        return cache


def bind_input(binding: onnxruntime.IOBinding, name: str, array: Array) -> None:
    """Gives the runs of a binding an input."""
    binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))


def past_shape(session: onnxruntime.InferenceSession) -> tuple[int, ...]:
    """The shape of `past_length` for one prompt: (1,), or () in judges from before there were any that write."""
    (given,) = [value for value in session.get_overridable_initializers() if value.name == PAST_LENGTH]
    return (1,) * len(given.shape)


def chunk_bounds(cached: int, tokens: int, chunk: int) -> list[int]:
    """Where the chunks of a prompt begin, and its end.

    Chunks are of like length: a short one at the end would take as long as half a chunk. None leaves a token alone in a
    block of attention, so every token's hidden states are the same wherever chunks begin, and a grade does not depend
    on what is cached: to the bit on x86, to 1e-5 in float32 on ARM64, whose products round by the number of rows.

    Args:
        cached: tokens at the beginning that need not run.
        tokens: of the prompt.
        chunk: about how many tokens run at once.
    """
    start = max(0, min(cached, tokens - _BLOCK))
    if start and (tokens - start) % _BLOCK == 1:
        start -= 1
    length = tokens - start
    alone = length > 1 and length % _BLOCK == 1  # if it were one chunk, or all chunks but one were whole blocks
    chunks = max(2 if alone else 1, round(length / chunk))
    last = _BLOCK // 2 if alone else 0
    ends = {last + _BLOCK * round((length * part / chunks - last) / _BLOCK) for part in range(1, chunks)}
    return [start, *sorted(tokens - end for end in ends if 0 < end < length), tokens]


def common_prefix(one: list[int], other: list[int]) -> int:
    """Number of tokens with which both prompts begin."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    differ = np.asarray(one[:length]) != np.asarray(other[:length])
    return int(differ.argmax())
