"""Grades what requests wait for: together, in one thread, in the order in which it came."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from lager_onnx.models.errors import LagerError, RecordError
from lager_onnx.runtime.grade import Grade
from lager_onnx.runtime.judge import Judge

Result = Grade | RecordError
# Records that are submitted together: enough to find what they share, few enough that nobody waits long behind them.
_ROUND: Final = 64
_ROUNDS_AT_ONCE: Final = 2  # while one is graded, the next is tokenised


class QueueFullError(LagerError):
    """More records wait than the queue holds.

    Attributes:
        seconds: until there is likely to be room.
    """

    def __init__(self, seconds: float):
        super().__init__(f"too many records wait to be graded: try again in {seconds:.0f} s")
        self.seconds = seconds


class ClosingError(LagerError):
    """The server stops."""


@dataclass
class _Waiting:
    record: Mapping[str, Any] | RecordError
    result: "Future[Result]" = field(default_factory=Future)


class GradingQueue:
    """Records in, grades out, for many requests at once.

    Args:
        judge: that grades; it is used by the queue's own thread only.
        most: records that may wait.

    Attributes:
        graded_records, graded_tokens: so far.
    """

    def __init__(self, judge: Judge, *, most: int):
        self._judge, self._most = judge, most
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self.graded_records = self.graded_tokens = 0
        self._busy = 0.0  # seconds that they took
        self._thread = threading.Thread(target=self._run, name="lager-grading", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records that wait."""
        return len(self._waiting)

    @property
    def closing(self) -> bool:
        """Whether it takes nothing any more."""
        return self._closing

    @property
    def alive(self) -> bool:
        """Whether the thread that grades still runs."""
        return self._thread.is_alive()

    async def grade(
        self, records: Sequence[Mapping[str, Any] | RecordError], *, seconds: float | None = None
    ) -> list[Result]:
        """Grades records; whoever is cancelled meanwhile is graded no more.

        Args:
            records: as `Judge.score` takes them.
            seconds: to wait at most.

        Returns:
            In order, a grade for each, or why there is none.

        Raises:
            QueueFullError: too many wait already.
            ClosingError: the server stops.
            TimeoutError: it took too long.
            GradingError: onnxruntime failed.
        """
        items = [_Waiting(record) for record in records]
        with self._changed:
            if self._closing:
                raise ClosingError("the server is stopping")
            if len(self._waiting) + len(items) > self._most:
                raise QueueFullError(self._seconds_for(len(self._waiting)))
            self._waiting.extend(items)
            self._changed.notify()
        futures = [asyncio.wrap_future(item.result) for item in items]
        try:
            async with asyncio.timeout(seconds):
                return list(await asyncio.gather(*futures))
        finally:
            for each in futures:
                each.cancel()

    def close(self) -> None:
        """Grades what waits, and ends; what comes meanwhile is refused."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _seconds_for(self, records: int) -> float:
        rate = self.graded_records / self._busy if self._busy else 1.0
        return min(60.0, max(1.0, records / rate))

    def _run(self) -> None:
        started: deque[tuple[list[_Waiting], Iterator[Result]]] = deque()
        try:
            while started or not self._done():
                some = self._take(wait=not started)
                if some:
                    started.append((some, self._judge.submit([item.record for item in some])))
                if started and (len(started) == _ROUNDS_AT_ONCE or not some):
                    self._deliver(*started.popleft())
        except BaseException as error:  # nobody may wait for ever for a thread that has died
            with self._changed:
                self._closing = True
                for item in [*(item for items, _ in started for item in items), *self._waiting]:
                    if not item.result.done():
                        item.result.set_exception(error)
            raise

    def _done(self) -> bool:
        with self._changed:
            return self._closing and not self._waiting

    def _take(self, *, wait: bool) -> list[_Waiting]:
        """The next round: those that nobody waits for any more are left out."""
        with self._changed:
            while wait and not self._waiting and not self._closing:
                self._changed.wait()
            found: list[_Waiting] = []
            while self._waiting and len(found) < _ROUND:
                item = self._waiting.popleft()
                if item.result.set_running_or_notify_cancel():
                    found.append(item)
            return found

    def _deliver(self, items: list[_Waiting], grades: Iterator[Result]) -> None:
        begin = time.perf_counter()
        waiting = deque(items)
        try:
            for result in grades:
                waiting.popleft().result.set_result(result)
                self.graded_records += 1
                self.graded_tokens += 0 if isinstance(result, RecordError) else result.tokens
        except LagerError as error:
            for item in waiting:
                item.result.set_exception(error)
        self._busy += time.perf_counter() - begin
