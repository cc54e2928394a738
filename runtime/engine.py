"""How a judge's session is kept busy: prompt by prompt on every core, or batch by batch."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy.typing as npt
import onnxruntime

from lager_onnx.models.graph import OUTPUTS
from lager_onnx.runtime.batching import batches
from lager_onnx.runtime.cores import usable_cores
from lager_onnx.runtime.reader import Reader, can_read
from lager_onnx.runtime.schedule import all_begin_alike, rows_of_prompts
from lager_onnx.runtime.session import Device, open_session, run_graph

# Prompts a core. With more, it does not matter that every core reads for itself what all begin with.
_FEW: Final = 8
# Tokens that are read at once, by one core and by all together: few, so that attention computes little beyond its
# diagonal and activations stay in a core's cache; enough for full speed, and cores that work together meet less often.
_CHUNK: Final = 128
_CHUNK_TOGETHER: Final = 256
# Packing weights takes as long as it saves on about so many tokens (SmolLM2-135M in float32).
_WORTH_PACKING: Final = 2048

Outputs = dict[str, npt.NDArray[Any]]
Wait = Callable[[], list[Outputs | None]]


class Engine(Protocol):
    """Grades prompts."""

    provider: str

    def start(self, prompts: list[list[int]], batch_tokens: int) -> Wait:
        """Starts to grade prompts, given as token ids.

        Returns:
            A function that waits for the end and returns the graph's outputs for every prompt, without the
            batch axis; None for an empty prompt. It raises `GradingError` where onnxruntime failed.
        """


def open_engine(model: Path, *, device: Device, threads: int | None, int8: bool = False) -> Engine:
    """Opens a judge's graph with the engine that fits it; see `open_session`.

    Raises:
        DeviceError: CUDA was asked for and cannot run, or products in 8 bits are not exact here.
        JudgeFolderError: onnxruntime cannot read the graph.
    """
    cores = threads or usable_cores()
    opened = open_session(model, device=device, threads=cores, int8=int8)
    if opened.provider == "CPUExecutionProvider" and can_read(opened.session):
        return CoreEngine(opened.session, model, cores, int8=int8)
    return BatchEngine(opened.session, opened.provider)


class BatchEngine:
    """Grades in batches of like length, padded on the right: for CUDA, and for graphs that are not fused."""

    def __init__(self, session: onnxruntime.InferenceSession, provider: str):
        self._session, self.provider = session, provider

    def start(self, prompts: list[list[int]], batch_tokens: int) -> Wait:
        """See `Engine.start`; here the work is done when the function that waits is called."""

        def wait() -> list[Outputs | None]:
            graded: list[Outputs | None] = [None] * len(prompts)
            for batch in batches([len(prompt) for prompt in prompts], batch_tokens):
                outputs = run_graph(self._session, [prompts[index] for index in batch])
                for row, index in enumerate(batch):
                    graded[index] = {name: outputs[name][row] for name in OUTPUTS}
            return graded

        return wait


class CoreEngine:
    """Grades one prompt a core: one session with a single thread of its own, called from as many threads as cores.

    No padding, no barrier between threads, and what prompts share at their beginning is read once. Where there
    are fewer rows of like prompts than half the cores, the cores work on one prompt together instead; once it is
    read, each takes some of the prompts that begin like it. Their session starts with the weights as they lie in the
    file, so that the first prompt need not wait; once it has read much, it is opened anew with packed ones.

    Args:
        together: a session with a thread for every core.
        model: the file that it was opened from; the session for one prompt a core is opened when it is needed.
        cores: number of cores.
        int8: the graph multiplies in 8 bits.
    """

    provider = "CPUExecutionProvider"

    def __init__(self, together: onnxruntime.InferenceSession, model: Path, cores: int, *, int8: bool = False):
        self._cores, self._model, self._int8 = cores, model, int8
        self._pool = ThreadPoolExecutor(cores, thread_name_prefix="lager-core")
        self._one_by_one = ThreadPoolExecutor(1, thread_name_prefix="lager-all-cores")
        self._together = Reader(together, chunk_tokens=_CHUNK_TOGETHER)
        self._until_packed = _WORTH_PACKING
        self._readers: list[Reader] = []
        self._borrowing = threading.Lock()

    @cached_property
    def _apart(self) -> onnxruntime.InferenceSession:
        return self._open_packed(threads=1)

    def _open_packed(self, threads: int) -> onnxruntime.InferenceSession:
        return open_session(self._model, device="cpu", threads=threads, pack=True, int8=self._int8).session

    def start(self, prompts: list[list[int]], batch_tokens: int) -> Wait:  # noqa: ARG002 - the Engine's signature
        """See `Engine.start`. `batch_tokens` is of no concern: a core computes a chunk of one prompt at a time."""
        rows = rows_of_prompts(prompts)
        given = [index for row in rows for index in row]
        if 1 < len(given) <= _FEW * self._cores and all_begin_alike([prompts[index] for index in given]):
            rows = [given]
        together = self._cores > 1 and 2 * len(rows) <= self._cores
        pool, grade = (self._one_by_one, self._grade_together) if together else (self._pool, self._grade_row)
        futures = [pool.submit(grade, [prompts[index] for index in row]) for row in rows]

        def wait() -> list[Outputs | None]:
            graded: list[Outputs | None] = [None] * len(prompts)
            try:
                for row, future in zip(rows, futures, strict=True):
                    for index, outputs in zip(row, future.result(), strict=True):
                        graded[index] = outputs
            finally:
                _cancel(futures)
            return graded

        return wait

    def _grade_row(self, prompts: list[list[int]], *, behind: Reader | None = None) -> list[Outputs]:
        with self._borrowed() as reader:
            if behind is not None:
                reader.adopt(behind)
            return [_first(reader.grade(prompt)) for prompt in prompts]

    def _grade_together(self, prompts: list[list[int]]) -> list[Outputs]:
        self._pack_when_worth_it(sum(map(len, prompts)))
        if len(prompts) <= self._cores:
            return [_first(self._together.grade(prompt)) for prompt in prompts]
        first = _first(self._together.grade(prompts[0]))
        parts = [prompts[1 + core :: self._cores] for core in range(self._cores)]
        futures = [self._pool.submit(self._grade_row, part, behind=self._together) for part in parts]
        try:
            graded = [future.result() for future in futures]
        finally:
            _cancel(futures)
            wait_for(futures)  # nobody may copy what the reader of all cores holds once it reads on
        rest = [graded[number % self._cores][number // self._cores] for number in range(len(prompts) - 1)]
        return [first, *rest]

    def _pack_when_worth_it(self, tokens: int) -> None:
        """Counts what is read by all cores together; called by their one thread only."""
        if 0 < self._until_packed <= tokens:
            packed = Reader(self._open_packed(self._cores), chunk_tokens=_CHUNK_TOGETHER)
            packed.adopt(self._together)
            self._together = packed
        self._until_packed -= tokens

    @contextmanager
    def _borrowed(self) -> Iterator[Reader]:
        """A reader that no other thread uses. The one used last is taken first: it may know the prompt's beginning."""
        with self._borrowing:
            reader = self._readers.pop() if self._readers else Reader(self._apart, chunk_tokens=_CHUNK)
        try:
            yield reader
        finally:
            with self._borrowing:
                self._readers.append(reader)


def _first(outputs: Outputs) -> Outputs:
    return {name: array[0] for name, array in outputs.items()}


def _cancel(futures: list[Future[list[Outputs]]]) -> None:
    for future in futures:
        future.cancel()
