"""How a judge's session is kept busy: prompt by prompt on every core, or batch by batch."""

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy.typing as npt
import onnxruntime

from lager_onnx.models.errors import GradingError
from lager_onnx.models.graph import OUTPUTS
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import GRAPH_FILE, JudgeSpec
from lager_onnx.runtime.batching import batches
from lager_onnx.runtime.cores import usable_cores
from lager_onnx.runtime.device import fitting_device
from lager_onnx.runtime.memory import CHUNK_FROM_FILE, PLENTY, Packing, choose_packing
from lager_onnx.runtime.prefill import Prefill, takes_past
from lager_onnx.runtime.schedule import groups_of_prompts, share_half
from lager_onnx.runtime.session import Device, graph_errors, open_session, run_graph

# Prompts a core. With more, it does not matter that every core runs the prefix of all for itself.
_FEW: Final = 8
# Tokens that run at once, on one core and on all of them: few, so that attention computes little beyond its
# diagonal and activations stay in a core's cache; enough for full speed, and cores that work together meet less often.
_CHUNK: Final = 128
_CHUNK_ON_ALL_CORES: Final = 256
# Packing weights takes as long as it saves on about so many tokens. In 4 bits, unpacked ones slow every run down, and
# their products round otherwise: packed before the first.
_WORTH_PACKING: Final[dict[Precision, int]] = {"fp32": 2048, "fp16": 2048, "bf16": 2048, "int8": 2048, "int4": 1}

Outputs = dict[str, npt.NDArray[Any]]


class Graded:
    """The graph's outputs for every prompt that an engine was given, without the batch axis; None for an empty prompt.

    Iterating gives them in order, each as soon as it and those before it are there; calling waits for all of them. Both
    raise `GradingError` where onnxruntime failed.
    """

    def __init__(self, outputs: Iterable["Outputs | None"]):
        self._outputs = outputs

    def __iter__(self) -> Iterator["Outputs | None"]:
        return iter(self._outputs)

    def __call__(self) -> list["Outputs | None"]:
        """All of them."""
        return list(self)


class Engine(Protocol):
    """Grades prompts."""

    provider: str
    session: onnxruntime.InferenceSession

    def start(self, prompts: list[list[int]], batch_tokens: int) -> Graded:
        """Starts to grade prompts, given as token ids.

        Raises:
            GradingError: it is closed.
        """

    def close(self) -> None:
        """Frees what it holds, once what has been started is graded."""


def open_engine(
    model: Path,
    *,
    device: Device,
    threads: int | None,
    precision: Precision = "fp32",
    arithmetic: Precision = "fp32",
    max_memory: int | None = None,
) -> Engine:
    """Opens a judge's graph with the engine that fits it; see `open_session` and, for `max_memory`, `choose_packing`.

    Args:
        model: the file `model.onnx`.
        device: "auto" takes CUDA for a judge that was made for it.
        threads: cores to use; None for all that this process may use.
        precision: of the judge.
        arithmetic: what its products are in, of `JudgeSpec`.
        max_memory: bytes that the process may hold of its own.

    Raises:
        DeviceError: CUDA was asked for and cannot run, or not this judge; or the judge is for CUDA only; or products in
            8 bits are not exact here.
        JudgeFolderError: onnxruntime cannot read the graph.
    """
    device = fitting_device(model, device, precision, arithmetic)
    cores = threads or usable_cores()
    packing = choose_packing(model, precision, max_memory)
    opened = open_session(model, device=device, threads=cores, weights=packing.at_first, precision=precision)
    if opened.provider == "CPUExecutionProvider" and takes_past(opened.session):
        with graph_errors(model):
            return CoreEngine(opened.session, model, cores, precision=precision, packing=packing)
    return BatchEngine(opened.session, opened.provider)


def open_judge_engine(
    folder: Path, spec: JudgeSpec, *, device: Device, threads: int | None, max_memory: int | None
) -> Engine:
    """`open_engine` for the judge in a folder, as its spec says."""
    return open_engine(
        folder / GRAPH_FILE,
        device=device,
        threads=threads,
        precision=spec.precision,
        arithmetic=spec.arithmetic,
        max_memory=max_memory,
    )


class BatchEngine:
    """Grades in batches of like length, padded on the right: for CUDA, and for graphs that are not fused."""

    def __init__(self, session: onnxruntime.InferenceSession, provider: str):
        self.session, self.provider = session, provider
        self._process, self._closed = os.getpid(), False

    def close(self) -> None:
        """See `Engine.close`."""
        if not self._closed:
            self._closed = True
            del self.session

    def start(self, prompts: list[list[int]], batch_tokens: int) -> Graded:
        """See `Engine.start`; here the work is done when the outputs are asked for."""
        _check_open(closed=self._closed)
        if os.getpid() != self._process:
            raise GradingError(
                "this process was forked from the one that loaded the judge, whose threads or GPU it does not have: "
                "load the judge in the process that grades"
            )

        def outputs() -> Iterator[Outputs | None]:
            graded: list[Outputs | None] = [None] * len(prompts)
            for batch in batches([len(prompt) for prompt in prompts], batch_tokens):
                found = run_graph(self.session, [prompts[index] for index in batch])
                for row, index in enumerate(batch):
                    graded[index] = {name: found[name][row] for name in OUTPUTS}
            yield from graded

        return Graded(outputs())


class CoreEngine:
    """Grades one prompt a core: one session with a single thread of its own, called from as many threads as cores.

    No padding, no barrier between threads, and a prefix that prompts share runs once. Where there are fewer groups of
    like prompts than half the cores, all cores work on one prompt instead; behind it, each takes some of the prompts
    that begin like it. The session of all cores starts with the weights as they lie in the file, so that the first
    prompt need not wait; once many tokens have run, it is opened anew with packed ones. Where memory is short, it is
    the only session; where it is shorter still, weights stay in the file.

    A process that was forked has none of the threads of its parent: there, sessions and pools are made anew.

    Args:
        on_all_cores: a session with a thread for every core.
        model: the file that it was opened from; the session for one prompt a core is opened when it is needed.
        cores: number of cores.
        precision: of the judge.
        packing: what memory allows.
    """

    provider = "CPUExecutionProvider"

    def __init__(
        self,
        on_all_cores: onnxruntime.InferenceSession,
        model: Path,
        cores: int,
        *,
        precision: Precision = "fp32",
        packing: Packing = PLENTY,
    ):
        self._cores, self._model, self._precision, self._packing = cores, model, precision, packing
        self._closed = False
        self._begin(on_all_cores)

    def close(self) -> None:
        """See `Engine.close`."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() != self._process:
            self._leave_behind()
            return
        self._all_cores_pool.shutdown()  # first: what runs there gives work to the other
        self._pool.shutdown()
        self._prefills.clear()
        self.__dict__.pop("_one_core", None)
        del self.session, self._all_cores

    def _begin(self, on_all_cores: onnxruntime.InferenceSession) -> None:
        self.session, self._process = on_all_cores, os.getpid()
        self._pool = ThreadPoolExecutor(self._cores, thread_name_prefix="lager-core")
        self._all_cores_pool = ThreadPoolExecutor(1, thread_name_prefix="lager-all-cores")
        chunk = _CHUNK_ON_ALL_CORES if self._packing.packed else CHUNK_FROM_FILE
        self._all_cores = Prefill(on_all_cores, chunk_tokens=chunk)
        self._until_packed = _WORTH_PACKING[self._precision] if self._packing.packed else 0
        self._prefills: list[Prefill] = []
        self._borrowing = threading.Lock()
        self.__dict__.pop("_one_core", None)

    def _leave_behind(self) -> None:
        """Keeps for ever what the parent has opened: a session that ends waits for threads, which are not here."""
        for each in (self.session, self.__dict__.get("_one_core"), self._all_cores, *self._prefills):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))

    @cached_property
    def _one_core(self) -> onnxruntime.InferenceSession:
        return self._open_packed(threads=1)

    def _open_packed(self, threads: int) -> onnxruntime.InferenceSession:
        return open_session(
            self._model, device="cpu", threads=threads, weights="packed", precision=self._precision
        ).session

    def start(self, prompts: list[list[int]], batch_tokens: int) -> Graded:  # noqa: ARG002 - the Engine's signature
        """See `Engine.start`. `batch_tokens` is of no concern: a core computes a chunk of one prompt at a time."""
        _check_open(closed=self._closed)
        if os.getpid() != self._process:
            self._leave_behind()
            at_first = self._packing.at_first
            opened = open_session(
                self._model, device="cpu", threads=self._cores, weights=at_first, precision=self._precision
            )
            self._begin(opened.session)
        groups = groups_of_prompts(prompts)
        given = [index for group in groups for index in group]
        if 1 < len(given) <= _FEW * self._cores and share_half([prompts[index] for index in given]):
            groups = [given]
        few = self._cores > 1 and 2 * len(groups) <= self._cores
        on_all_cores = few or not self._packing.every_core
        pool, grade = (
            (self._all_cores_pool, self._grade_on_all_cores) if on_all_cores else (self._pool, self._grade_group)
        )
        results: dict[int, Future[Outputs]] = {index: Future() for index in given}
        tasks = [
            pool.submit(_deliver, grade, [prompts[index] for index in group], [results[index] for index in group])
            for group in groups
        ]

        def outputs() -> Iterator[Outputs | None]:
            try:
                for index in range(len(prompts)):
                    yield results[index].result() if index in results else None
            finally:
                _cancel(tasks)

        return Graded(outputs())

    def _grade_group(self, prompts: list[list[int]], *, behind: Prefill | None = None) -> Iterator[Outputs]:
        with self._borrowed() as prefill:
            if behind is not None:
                prefill.copy_cache(behind)
            for prompt in prompts:
                yield _first(prefill.grade(prompt))

    def _whole_group(self, prompts: list[list[int]], *, behind: Prefill) -> list[Outputs]:
        return list(self._grade_group(prompts, behind=behind))

    def _grade_on_all_cores(self, prompts: list[list[int]]) -> Iterator[Outputs]:
        self._pack_when_worth_it(sum(map(len, prompts)))
        if len(prompts) <= self._cores or not self._packing.every_core:
            for prompt in prompts:
                yield _first(self._all_cores.grade(prompt))
            return
        yield _first(self._all_cores.grade(prompts[0]))
        parts = [prompts[1 + core :: self._cores] for core in range(self._cores)]
        futures = [self._pool.submit(self._whole_group, part, behind=self._all_cores) for part in parts]
        try:
            graded = [future.result() for future in futures]
        finally:
            _cancel(futures)
            wait_for(futures)  # nobody may copy its cache once it goes on
        for number in range(len(prompts) - 1):
            yield graded[number % self._cores][number // self._cores]

    def _pack_when_worth_it(self, tokens: int) -> None:
        """Counts what runs on all cores; called by their one thread only."""
        if 0 < self._until_packed <= tokens:
            packed = Prefill(self._open_packed(self._cores), chunk_tokens=_CHUNK_ON_ALL_CORES)
            packed.copy_cache(self._all_cores)
            packed.tokens = self._all_cores.tokens
            self._all_cores = packed
        self._until_packed -= tokens

    @property
    def tokens(self) -> int:
        """How many tokens have run so far; those of a shared prefix run once. To be asked while nothing runs."""
        return self._all_cores.tokens + sum(prefill.tokens for prefill in self._prefills)

    @contextmanager
    def _borrowed(self) -> Iterator[Prefill]:
        """A KV cache that no other thread uses. The one used last is taken first: it may hold the prompt's prefix."""
        with self._borrowing:
            prefill = self._prefills.pop() if self._prefills else Prefill(self._one_core, chunk_tokens=_CHUNK)
        try:
            yield prefill
        finally:
            with self._borrowing:
                self._prefills.append(prefill)


def _check_open(*, closed: bool) -> None:
    if closed:
        raise GradingError("this judge is closed: load it again")


def _deliver(
    grade: Callable[[list[list[int]]], Iterator[Outputs]], prompts: list[list[int]], results: list[Future[Outputs]]
) -> None:
    """Hands each prompt's outputs over as soon as they are there; of a failure, to all that wait for it."""
    waiting = deque(results)
    try:
        for outputs in grade(prompts):
            waiting.popleft().set_result(outputs)
    except BaseException as error:
        for future in waiting:
            future.set_exception(error)
        raise


def _first(outputs: Outputs) -> Outputs:
    return {name: array[0] for name, array in outputs.items()}


def _cancel(futures: Sequence[Future[Any]]) -> None:
    for future in futures:
        future.cancel()
