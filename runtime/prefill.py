"""Prefills one prompt after another, and the prefix that a prompt shares with the one before only once."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from lager_onnx.models.graph import (
    ATTENTION_MASK,
    INPUT_IDS,
    NEXT_LOGITS,
    OUTPUTS,
    PARTS,
    PAST_LENGTH,
    WRITERS,
    past,
    present,
)
from lager_onnx.runtime.session import grading_errors

Array = npt.NDArray[Any]

_CAPACITY_STEP = 512
_DTYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
# Attention takes a chunk in blocks of a multiple of so many tokens (two head sizes, for most processors); a token that
# is left alone in a block goes through other kernels, which round otherwise.
_BLOCK: Final = 16


def takes_past(session: onnxruntime.InferenceSession) -> bool:
    """Whether a session's graph takes the keys and values of earlier tokens."""
    return any(value.name == PAST_LENGTH for value in session.get_overridable_initializers())


class Prefill:
    """A session with a KV cache for one prompt.

    The cache is bound as past and as present of every layer, so attention appends to it in place and nothing is
    copied. It keeps the prompt that ran last; the next one runs from where it departs from that. One of these serves
    one thread; several may share a session.

    Args:
        session: of a graph that takes a past; see `takes_past`.
        chunk_tokens: about how many tokens run at once.
        capacity_step: tokens by which the cache grows.

    Attributes:
        tokens: how many tokens have run so far; those of a shared prefix run once.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, *, chunk_tokens: int, capacity_step: int = _CAPACITY_STEP
    ):
        self._session, self._chunk, self._step = session, chunk_tokens, capacity_step
        self.tokens = 0
        self._binding, self._writing = session.io_binding(), session.io_binding()
        for name in OUTPUTS:
            self._binding.bind_output(name, "cpu")
        if any(value.name == NEXT_LOGITS for value in session.get_outputs()):
            self._writing.bind_output(NEXT_LOGITS, "cpu")
            self._bind(WRITERS, np.ones(1, np.int64), self._writing)
        shapes = {value.name: value.shape for value in session.get_overridable_initializers()}
        layers = sum(past(layer, PARTS[0]) in shapes for layer in range(len(shapes)))
        self._shapes = [shapes[past(layer, PARTS[0])] for layer in range(layers)]  # (1, heads, tokens, size)
        types = {value.name: value.type for value in session.get_overridable_initializers()}
        self._dtype = _DTYPES[types[past(0, PARTS[0])]]
        self._capacity = 0
        self._cache: list[Array] = []
        self._cached: list[int] = []

    def grade(self, prompt: list[int]) -> dict[str, Array]:
        """Grades one prompt, given as token ids.

        Returns:
            The graph's outputs by name, for a batch of one; see `run_graph`.

        Raises:
            GradingError: onnxruntime could not run.
        """
        self._reserve(len(prompt))
        bounds = chunk_bounds(common_prefix(self._cached, prompt), len(prompt), self._chunk)
        self._cached = []  # of a prompt that fails, nothing is kept
        ids = np.asarray(prompt, dtype=np.int64)[None]
        with grading_errors(1, len(prompt)):
            self._run(ids, bounds, self._binding)
        self.tokens += len(prompt) - bounds[0]
        self._cached = prompt
        outputs = self._binding.get_outputs()[: len(OUTPUTS)]
        # Copied: an OrtValue's numpy() may look into memory that the next run writes to.
        return {name: output.numpy().copy() for name, output in zip(OUTPUTS, outputs, strict=True)}

    def write(
        self, prompt: list[int], limit: int, choose: Callable[[Array], int], ended: Callable[[list[int]], bool]
    ) -> list[int]:
        """Writes on behind a prompt; what it writes is not kept in the cache.

        Keys and values of a token that runs alone are rounded otherwise than those of a chunk: who reads the text
        afterwards prefills it, so that its grade is that of the same text from elsewhere.

        Args:
            prompt: token ids.
            limit: most tokens to write.
            choose: gives the next token for the logits of all, (tokens,).
            ended: whether the text ends with what has been written.

        Returns:
            The tokens that were written.

        Raises:
            GradingError: onnxruntime could not run.
        """
        self._reserve(len(prompt) + limit)
        bounds = chunk_bounds(common_prefix(self._cached, prompt), len(prompt), self._chunk)
        self._cached, written = [], list[int]()
        with grading_errors(1, len(prompt) + limit):
            self._run(np.asarray(prompt, dtype=np.int64)[None], bounds, self._writing)
            while True:
                written.append(choose(self._writing.get_outputs()[0].numpy()[0]))
                if ended(written) or len(written) == limit:
                    break
                at = len(prompt) + len(written) - 1
                self._run_chunk(np.asarray([written[-1:]], dtype=np.int64), at, self._writing)
        self.tokens += len(prompt) - bounds[0] + len(written)
        self._cached = prompt
        return written

    def copy_cache(self, other: "Prefill") -> None:
        """Copies what another one has cached, which then need not run here."""
        self._reserve(len(other._cached))
        for mine, theirs in zip(self._cache, other._cache, strict=True):
            mine[:, :, : len(other._cached)] = theirs[:, :, : len(other._cached)]
        self._cached = other._cached

    def _run(self, ids: Array, bounds: list[int], binding: Any) -> None:
        for first, end in pairwise(bounds):
            self._run_chunk(np.ascontiguousarray(ids[:, first:end]), first, binding)

    def _run_chunk(self, chunk: Array, first: int, binding: Any) -> None:
        self._bind(INPUT_IDS, chunk, binding)
        # The graph reads the mask's sum and nothing else. With a mask of the ids' own shape, onnxruntime (1.32)
        # would give runs of every length the memory plan of the first one, which fits no other length: 11% slower
        # in int8. It finds a plan by the exclusive or of all inputs' dimensions (CalculateMemoryPatternsKey): two
        # that are equal cancel out.
        self._bind(ATTENTION_MASK, np.asarray([[chunk.shape[1]]], dtype=np.int64), binding)
        self._bind(PAST_LENGTH, np.asarray(first, dtype=np.int32), binding)
        self._session.run_with_iobinding(binding)

    def _bind(self, name: str, array: Array, binding: Any) -> None:
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))

    def _reserve(self, tokens: int) -> None:
        """Makes the cache hold `tokens` tokens; what it held is lost when it grows."""
        if tokens <= self._capacity:
            return
        self._capacity = -(-tokens // self._step) * self._step
        self._cached, self._cache = [], []
        for layer, (_, heads, _, size) in enumerate(self._shapes):
            for part in PARTS:
                array = np.zeros((1, heads, self._capacity, size), dtype=self._dtype)
                value = onnxruntime.OrtValue.ortvalue_from_numpy(array)  # looks into the array, copies nothing
                for binding in (self._binding, self._writing):
                    binding.bind_ortvalue_input(past(layer, part), value)
                    binding.bind_ortvalue_output(present(layer, part), value)
                self._cache.append(array)


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
