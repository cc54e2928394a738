"""Records as prompts, a few at a time: what is graded, or why it cannot be."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from lager_onnx.models.cure import Notice
from lager_onnx.models.errors import RecordError
from lager_onnx.models.question import Question
from lager_onnx.runtime.prompts import PromptEncoder, Turns

logger = logging.getLogger(__name__)

_ENCODED_TOGETHER: Final = 64
_MOST_TOLD: Final = 1000  # notices that are remembered: names in them come from requests

AnyRecord = Mapping[str, Any]  # as a user gives it, or a `records.Record`
T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """A record's prompt as token ids, or why it has none."""

    ids: list[int]
    error: RecordError | None = None
    turns: Turns | None = None

    @property
    def question(self) -> Question | None:
        """What is asked; None for a score on the judge's own scale."""
        return self.turns.question if self.turns else None

    @property
    def tokens(self) -> int:
        """Of the prompt; 0 for a record that cannot be graded."""
        return len(self.ids)


def prepare(encoder: PromptEncoder, records: Iterable[AnyRecord | RecordError]) -> Iterator[Prepared]:
    """Tokenises records as they come; an error in the place of a record is handed through."""
    for chunk in _chunks(records, _ENCODED_TOGETHER):
        found: list[Turns | RecordError] = []
        for record in chunk:
            try:
                found.append(record if isinstance(record, RecordError) else encoder.turns(record))
            except RecordError as error:
                found.append(error)
        encoded = iter(encoder.encode([turns for turns in found if isinstance(turns, Turns)]))
        for turns in found:
            ids = turns if isinstance(turns, RecordError) else next(encoded)
            if isinstance(ids, RecordError):
                yield Prepared([], ids)
            else:
                yield Prepared(ids, turns=turns if isinstance(turns, Turns) else None)


def reported(records: Iterable[Prepared], told: set[Notice]) -> Iterator[Prepared]:
    """Hand prepared records on, and log which of their fields are not read; see `tell`."""
    for prepared in records:
        if prepared.turns:
            tell(prepared.turns, told)
        yield prepared


def tell(turns: Turns, told: set[Notice]) -> None:
    """Log which fields of a record are not read, each once: what is in `told` is not logged again.

    After a thousand notices nothing more is logged, so that a server neither keeps nor logs whatever clients name.
    """
    for notice in turns.unread:
        if notice not in told and len(told) < _MOST_TOLD:
            told.add(notice)
            logger.warning(notice)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
