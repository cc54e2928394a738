"""Reads one prompt after another, and what a prompt shares with the one before only once."""

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from lager_onnx.models.graph import ATTENTION_MASK, INPUT_IDS, OUTPUTS, PARTS, PAST_LENGTH, past, present
from lager_onnx.runtime.session import grading_errors

Array = npt.NDArray[Any]

_CAPACITY_STEP = 512
_DTYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
# So many tokens at the end are always read: a single token goes through other kernels, which round otherwise.
_READ_AGAIN: Final = 16


def can_read(session: onnxruntime.InferenceSession) -> bool:
    """Whether a session's graph takes keys and values of tokens that were read before."""
    return any(value.name == PAST_LENGTH for value in session.get_overridable_initializers())


class Reader:
    """A session with a buffer for the keys and values of one prompt.

    The buffer is bound as past and as present of every layer, so attention appends to it in place and nothing
    is copied. It keeps what was read last; the next prompt is read from where it departs from that. One reader
    serves one thread; several readers may share a session.

    Args:
        session: of a graph that can read; see `can_read`.
        chunk_tokens: about how many tokens are read at once.
    """

    def __init__(self, session: onnxruntime.InferenceSession, *, chunk_tokens: int):
        self._session, self._chunk = session, chunk_tokens
        self._binding = session.io_binding()
        for name in OUTPUTS:
            self._binding.bind_output(name, "cpu")
        shapes = {value.name: value.shape for value in session.get_overridable_initializers()}
        layers = (len(shapes) - 1) // len(PARTS)
        self._shapes = [shapes[past(layer, PARTS[0])] for layer in range(layers)]  # (1, heads, tokens, size)
        types = {value.name: value.type for value in session.get_overridable_initializers()}
        self._dtype = _DTYPES[types[past(0, PARTS[0])]]
        self._capacity = 0
        self._buffers: list[Array] = []
        self._read: list[int] = []

    def grade(self, prompt: list[int]) -> dict[str, Array]:
        """Grades one prompt, given as token ids.

        Returns:
            The graph's outputs by name, for a batch of one; see `run_graph`.

        Raises:
            GradingError: onnxruntime could not run.
        """
        self._reserve(len(prompt))
        start = max(0, min(shared(self._read, prompt), len(prompt) - _READ_AGAIN))
        self._read = []  # of a prompt that fails, nothing is kept
        ids = np.asarray(prompt, dtype=np.int64)[None]
        with grading_errors(1, len(prompt)):
            self._read_from(start, ids)
        self._read = prompt
        outputs = self._binding.get_outputs()[: len(OUTPUTS)]
        # Copied: an OrtValue's numpy() may look into memory that the next run writes to.
        return {name: output.numpy().copy() for name, output in zip(OUTPUTS, outputs, strict=True)}

    def adopt(self, other: "Reader") -> None:
        """Copies what another reader has read, which then need not be read here."""
        self._reserve(len(other._read))
        for mine, theirs in zip(self._buffers, other._buffers, strict=True):
            mine[:, :, : len(other._read)] = theirs[:, :, : len(other._read)]
        self._read = other._read

    def _read_from(self, start: int, ids: Array) -> None:
        # Chunks of like length: a short one at the end would take as long as half a chunk.
        chunks = max(1, round((ids.shape[1] - start) / self._chunk))
        bounds = np.linspace(start, ids.shape[1], chunks + 1, dtype=np.int64).tolist()
        for first, end in pairwise(bounds):
            chunk = np.ascontiguousarray(ids[:, first:end])
            self._bind(INPUT_IDS, chunk)
            # The graph reads the mask's sum and nothing else. With a mask of the ids' own shape, onnxruntime (1.32)
            # would give runs of every length the memory plan of the first one, which fits no other length: 11% slower
            # in int8. It finds a plan by the exclusive or of all inputs' dimensions (CalculateMemoryPatternsKey): two
            # that are equal cancel out.
            self._bind(ATTENTION_MASK, np.asarray([[chunk.shape[1]]], dtype=np.int64))
            self._bind(PAST_LENGTH, np.asarray(first, dtype=np.int32))
            self._session.run_with_iobinding(self._binding)

    def _bind(self, name: str, array: Array) -> None:
        self._binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))

    def _reserve(self, tokens: int) -> None:
        """Makes the buffer hold `tokens` tokens; what it held is lost when it grows."""
        if tokens <= self._capacity:
            return
        self._capacity = -(-tokens // _CAPACITY_STEP) * _CAPACITY_STEP
        self._read, self._buffers = [], []
        for layer, (_, heads, _, size) in enumerate(self._shapes):
            for part in PARTS:
                buffer = np.zeros((1, heads, self._capacity, size), dtype=self._dtype)
                value = onnxruntime.OrtValue.ortvalue_from_numpy(buffer)  # looks into the array, copies nothing
                self._binding.bind_ortvalue_input(past(layer, part), value)
                self._binding.bind_ortvalue_output(present(layer, part), value)
                self._buffers.append(buffer)


def shared(one: list[int], other: list[int]) -> int:
    """Number of tokens with which both prompts begin."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    differ = np.asarray(one[:length]) != np.asarray(other[:length])
    return int(differ.argmax())
