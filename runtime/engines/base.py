"""What all engines are to whoever grades: prompts in, the graph's outputs out, in the same order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import numpy.typing as npt
import onnxruntime

from lager_onnx.models.errors import GradingError, RecordError
from lager_onnx.runtime.decode import Text, Written

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
    """Grades prompts.

    Attributes:
        provider: the onnxruntime provider that really runs.
        session: one of its sessions.
        batch_tokens: most tokens of a batch, where nobody says otherwise.
    """

    provider: str
    session: onnxruntime.InferenceSession
    batch_tokens: int

    @property
    def tokens(self) -> int:
        """How many tokens have run so far; those of a shared prefix run once. To be asked while nothing runs."""

    def submit(self, prompts: list[list[int]], batch_tokens: int | None = None) -> Graded:
        """Starts to grade prompts, given as token ids, and returns at once.

        Args:
            prompts: token ids; empty ones are passed over.
            batch_tokens: most tokens of a batch.

        Raises:
            GradingError: it is closed.
        """

    def write(self, texts: Sequence[Text]) -> Iterator[Written | RecordError]:
        """Starts to write texts and to grade them, and returns at once.

        What it returns gives them in order, each as soon as it and those before it are there, and raises
        `GradingError` where onnxruntime failed. Once nobody wants the next one any more, none is written further.

        Raises:
            GradingError: it is closed, or can do nothing but grade.
        """

    def close(self) -> None:
        """Frees what it holds, once what has been submitted is graded."""


def check_open(*, closed: bool) -> None:
    """Refuses to grade with what is closed."""
    if closed:
        raise GradingError("this judge is closed: load it again")


T = TypeVar("T")


def deliver(grade: Callable[[list[T]], Iterable[Outputs]], prompts: list[T], results: list[Future[Outputs]]) -> None:
    """Hands each prompt's outputs over as soon as they are there; of a failure, to all that wait for it.

    Once nobody waits for the next one any more, the others are not begun.
    """
    waiting = deque(results)
    try:
        for outputs in grade(prompts):
            future = waiting.popleft()
            if not future.set_running_or_notify_cancel():
                return
            future.set_result(outputs)
    except BaseException as error:
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        raise


def collect(count: int, results: Mapping[int, Future[Outputs]], tasks: Sequence[Future[None]]) -> Graded:
    """What `tasks` hand over for `count` prompts, in order; once nobody wants it any more, those not begun end."""

    def outputs() -> Iterator[Outputs | None]:
        try:
            for index in range(count):
                yield results[index].result() if index in results else None
        finally:
            cancel(tasks)
            cancel(list(results.values()))

    return Graded(outputs())


def cancel(futures: Sequence[Future[Any]]) -> None:
    """Ends those that have not begun."""
    for future in futures:
        future.cancel()
