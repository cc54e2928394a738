"""Batch by batch: on GPUs, and graphs whose attention is not fused."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Final

import onnxruntime

from lager_onnx.models.errors import GradingError, RecordError
from lager_onnx.models.graph import BLOCK_TABLE, INPUT_IDS, OUTPUTS
from lager_onnx.runtime.batching import BATCH_TOKENS, packed_batches, padded_batches
from lager_onnx.runtime.decode import Text, Written
from lager_onnx.runtime.engines.base import Graded, Outputs, check_open, collect, deliver
from lager_onnx.runtime.packed_batch import pack_batch
from lager_onnx.runtime.session import pad_batch, run_batch

# Batches that a GPU has at once: while one is graded, the next is laid out, copied and queued.
_IN_FLIGHT: Final = {"CUDAExecutionProvider": 2}


class BatchEngine:
    """Grades in batches.

    Packed ones, in which a shared prefix is there once, where the graph reads them; otherwise of like length, padded on
    the right.

    Args:
        sessions: one on each GPU, or the only one.
        provider: that runs them.
        batch_tokens: see `Engine`.
    """

    def __init__(
        self,
        sessions: Sequence[onnxruntime.InferenceSession],
        provider: str,
        *,
        batch_tokens: int = BATCH_TOKENS,
    ):
        self.session, self.provider, self.batch_tokens = sessions[0], provider, batch_tokens
        self.tokens, self._counting = 0, threading.Lock()
        self._packed = reads_packed(sessions[0])
        self._process, self._closed = os.getpid(), False
        in_flight = _IN_FLIGHT.get(provider, 1)
        self._pool = ThreadPoolExecutor(in_flight * len(sessions), thread_name_prefix="lager-batch")
        self._free: SimpleQueue[onnxruntime.InferenceSession] = SimpleQueue()
        for session in (*sessions,) * in_flight:
            self._free.put(session)

    def close(self) -> None:
        """See `Engine.close`."""
        if not self._closed:
            self._closed = True
            if os.getpid() == self._process:
                self._pool.shutdown()
            del self.session, self._free

    def submit(self, prompts: list[list[int]], batch_tokens: int | None = None) -> Graded:
        """See `Engine.submit`."""
        check_open(closed=self._closed)
        if os.getpid() != self._process:
            raise GradingError(
                "this process was forked from the one that loaded the judge, whose threads or GPU it does not have: "
                "load the judge in the process that grades"
            )
        cut = packed_batches if self._packed else padded_batches
        cut_into = cut(prompts, batch_tokens or self.batch_tokens)
        results: dict[int, Future[Outputs]] = {index: Future() for batch in cut_into for index in batch}
        tasks = []
        for batch in cut_into:
            given, wanted = [prompts[index] for index in batch], [results[index] for index in batch]
            tasks.append(self._pool.submit(deliver, self._grade, given, wanted))
        return collect(len(prompts), results, tasks)

    def write(self, texts: Sequence[Text]) -> Iterator[Written | RecordError]:  # noqa: ARG002
        """See `Engine.write`: it cannot."""
        raise GradingError("this judge keeps nothing of what it has read, so it cannot write: use one for the CPU")

    def _grade(self, prompts: list[list[int]]) -> Iterator[Outputs]:
        batch = pack_batch(prompts) if self._packed else pad_batch(prompts)
        session = self._free.get()
        try:
            found = run_batch(session, batch)
        finally:
            self._free.put(session)
        with self._counting:
            self.tokens += batch[INPUT_IDS].size if self._packed else sum(map(len, prompts))
        for row in range(len(prompts)):
            yield {name: found[name][row] for name in OUTPUTS}


def reads_packed(session: onnxruntime.InferenceSession) -> bool:
    """Whether a session's graph reads packed batches."""
    return any(value.name == BLOCK_TABLE for value in session.get_inputs())
