"""Prompt by prompt, one on every core of a CPU."""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

import onnxruntime

from lager_onnx.models.errors import RecordError
from lager_onnx.models.precisions import Precision
from lager_onnx.runtime.batching import BATCH_TOKENS
from lager_onnx.runtime.decode import Decoder, Text, Written
from lager_onnx.runtime.engines.base import Graded, Outputs, cancel, check_open, collect, deliver
from lager_onnx.runtime.kv_cache import KVCache
from lager_onnx.runtime.memory import CHUNK_FROM_FILE, PLENTY, Packing
from lager_onnx.runtime.prefill import Prefill
from lager_onnx.runtime.schedule import groups_of_prompts, share_half
from lager_onnx.runtime.session import open_session

# Prompts a core. With more, it does not matter that every core runs the prefix of all for itself.
_FEW: Final = 8
# Tokens that run at once, on one core and on all of them: few, so that attention computes little beyond its
# diagonal and activations stay in a core's cache; enough for full speed, and cores that work together meet less often.
_CHUNK: Final = 128
_CHUNK_ON_ALL_CORES: Final = 256
# Texts that are written at once: with more, attention, which each pays for itself, takes most of the time.
_TEXTS: Final = 8
_TOKENS_STEP: Final = 512  # by which their room grows
# Packing weights takes as long as it saves on about so many tokens. In 4 bits, unpacked ones slow every run down, and
# their products round otherwise: packed before the first.
_WORTH_PACKING: Final[dict[Precision, int]] = {"fp32": 2048, "fp16": 2048, "bf16": 2048, "int8": 2048, "int4": 1}


class CoreEngine:
    """Grades one prompt a core: one session with a single thread of its own, called from as many threads as cores.

    No padding, no barrier between threads, and a prefix that prompts share runs once. Where there are fewer groups of
    like prompts than half the cores, all cores work on one prompt instead; behind it, each takes some of the prompts
    that begin like it. Texts are written by all cores, several at once. The session of all cores starts with the
    weights as they lie in the file, so that the first prompt need not wait; once many tokens have run, or a text is to
    be written, it is opened anew with packed ones. Where memory is short, it is the only session; where it is shorter
    still, weights stay in the file.

    A process that was forked has none of the threads of its parent: there, sessions and pools are made anew.

    Args:
        on_all_cores: a session with a thread for every core.
        model: the file that it was opened from; the session for one prompt a core is opened when it is needed.
        cores: number of cores.
        precision: of the judge.
        packing: what memory allows.
    """

    provider = "CPUExecutionProvider"
    batch_tokens = BATCH_TOKENS

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
        del self.session, self._all_cores, self._decoder

    def _begin(self, on_all_cores: onnxruntime.InferenceSession) -> None:
        self.session, self._process = on_all_cores, os.getpid()
        self._pool = ThreadPoolExecutor(self._cores, thread_name_prefix="lager-core")
        self._all_cores_pool = ThreadPoolExecutor(1, thread_name_prefix="lager-all-cores")
        self._chunk = _CHUNK_ON_ALL_CORES if self._packing.packed else CHUNK_FROM_FILE
        self._all_cores = Prefill(on_all_cores, chunk_tokens=self._chunk)
        self._decoder: Decoder | None = None
        self._until_packed = _WORTH_PACKING[self._precision] if self._packing.packed else 0
        self._prefills: list[Prefill] = []
        self._borrowing = threading.Lock()
        self.__dict__.pop("_one_core", None)

    def _leave_behind(self) -> None:
        """Keeps for ever what the parent has opened: a session that ends waits for threads, which are not here."""
        for each in (self.session, self.__dict__.get("_one_core"), self._all_cores, self._decoder, *self._prefills):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))

    @cached_property
    def _one_core(self) -> onnxruntime.InferenceSession:
        return self._open_packed(threads=1)

    def _open_packed(self, threads: int) -> onnxruntime.InferenceSession:
        return open_session(
            self._model, device="cpu", threads=threads, weights="packed", precision=self._precision
        ).session

    def submit(self, prompts: list[list[int]], batch_tokens: int | None = None) -> Graded:  # noqa: ARG002
        """See `Engine.submit`. `batch_tokens` is of no concern: a core computes a chunk of one prompt at a time."""
        self._check_open()
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
            pool.submit(deliver, grade, [prompts[index] for index in group], [results[index] for index in group])
            for group in groups
        ]

        return collect(len(prompts), results, tasks)

    def write(self, texts: Sequence[Text]) -> Iterator[Written | RecordError]:
        """See `Engine.write`."""
        self._check_open()
        results: list[Future[Written | RecordError]] = [Future() for _ in texts]
        gone = threading.Event()
        self._all_cores_pool.submit(self._write, texts, results, lambda: gone.is_set() or self._closed)

        def written() -> Iterator[Written | RecordError]:
            try:
                for result in results:
                    yield result.result()
            finally:
                gone.set()

        return written()

    def _check_open(self) -> None:
        """Refuses what is closed; opens it anew in a process that was forked."""
        check_open(closed=self._closed)
        if os.getpid() != self._process:
            self._leave_behind()
            at_first = self._packing.at_first
            opened = open_session(
                self._model, device="cpu", threads=self._cores, weights=at_first, precision=self._precision
            )
            self._begin(opened.session)

    def _grade_group(self, prompts: list[list[int]], *, behind: Prefill | None = None) -> Iterator[Outputs]:
        with self._borrowed() as prefill:
            if behind is not None:
                prefill.copy_cache(behind)
            for prompt in prompts:
                yield prefill.grade_one(prompt)

    def _whole_group(self, prompts: list[list[int]], *, behind: Prefill) -> list[Outputs]:
        return list(self._grade_group(prompts, behind=behind))

    def _grade_on_all_cores(self, prompts: list[list[int]]) -> Iterator[Outputs]:
        self._pack_when_worth_it(sum(map(len, prompts)))
        if len(prompts) <= self._cores or not self._packing.every_core:
            for prompt in prompts:
                yield self._all_cores.grade_one(prompt)
            return
        yield self._all_cores.grade_one(prompts[0])
        parts = [prompts[1 + core :: self._cores] for core in range(self._cores)]
        futures = [self._pool.submit(self._whole_group, part, behind=self._all_cores) for part in parts]
        try:
            graded = [future.result() for future in futures]
        finally:
            cancel(futures)
            wait_for(futures)  # nobody may copy its cache once it goes on
        for number in range(len(prompts) - 1):
            yield graded[number % self._cores][number // self._cores]

    def _write(
        self, texts: Sequence[Text], results: list[Future[Written | RecordError]], stopped: Callable[[], bool]
    ) -> None:
        try:
            self._pack_when_worth_it(self._until_packed)  # every token reads all weights
            decoder = self._decoder_for(texts)
            for number, result in decoder.run(enumerate(texts), stopped):
                results[number].set_result(result)
        except BaseException as error:
            for future in results:
                if not future.done():
                    future.set_exception(error)
            raise

    def _decoder_for(self, texts: Sequence[Text]) -> Decoder:
        """The one there is, or a larger one, as memory allows."""
        longest = max((len(text.prompt) + text.limit for text in texts), default=1)
        slots, tokens = self._decoder.room if self._decoder else (0, 0)
        tokens = max(tokens, -(-longest // _TOKENS_STEP) * _TOKENS_STEP)
        fit = self._packing.spare // (KVCache.make(self._all_cores.session, 1, 1).nbytes * tokens)
        slots = max(slots, min(len(texts), max(_TEXTS, self._cores), max(1, fit)))
        if self._decoder is None or (slots, tokens) != self._decoder.room:
            self._decoder = None  # before there is another
            self._decoder = Decoder(
                self._all_cores.session,
                slots=slots,
                tokens=tokens,
                chunk_tokens=self._chunk,
                packed=self._packing.packed,
            )
        return self._decoder

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
        written = self._decoder.tokens if self._decoder else 0
        return self._all_cores.tokens + written + sum(prefill.tokens for prefill in self._prefills)

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
