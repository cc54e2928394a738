"""What all protocols ask of a judge: grades for some records, within limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import visible
from lager_onnx.runtime.grade import Grade
from lager_onnx.runtime.judge import Judge
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.grading import GradingQueue, Result


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Attributes:
        records: in one request.
        waiting: records of all requests that wait.
        body: bytes of a request.
        seconds: until a request is given up.
    """

    records: int
    waiting: int
    body: int
    seconds: float


@dataclass(frozen=True)
class Settings:
    """How a judge is served.

    Attributes:
        name: that the server gives its judge.
        limits: what it takes on.
        api_key: that clients must send, as a bearer's token; None lets everybody in.
        origins: of pages of other servers that browsers may let ask.
        aliases: other names that requests may use for the judge.
    """

    name: str
    limits: Limits
    api_key: str | None = None
    origins: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the judge, that of its answers first; each once."""
        return tuple(dict.fromkeys((self.name, *self.aliases)))


class Service:
    """A judge that many requests share."""

    def __init__(self, judge: Judge, settings: Settings):
        self.settings, self.spec = settings, judge.spec
        self.queue = GradingQueue(judge, most=settings.limits.waiting)

    @property
    def most_answers(self) -> int:
        """K: how many levels or choices a question may have."""
        return len(self.spec.scale.labels)

    def check_model(self, name: str) -> None:
        """Refuse a request for another model, as OpenAI's servers do.

        Raises:
            RequestError: the judge has no such name.
        """
        if name not in self.settings.names:
            served = ", ".join(repr(each) for each in self.settings.names)
            raise RequestError(
                f"the model {visible(repr(name[:200]))} does not exist here: this server serves {served}; name that, "
                "or leave `model` out",
                field="model",
                status=HTTPStatus.NOT_FOUND,
                code="model_not_found",
            )

    def named(self, asked: str | None) -> str:
        """Return the name that an answer bears: the one asked for, or the judge's first where none was.

        Raises:
            RequestError: the judge has no such name.
        """
        if not asked:
            return self.settings.name
        self.check_model(asked)
        return asked

    async def results(self, records: Sequence[Mapping[str, Any] | RecordError], *, field: str) -> list[Result]:
        """Grades of records, and why others have none.

        Args:
            records: as `Judge.score` takes them; an error in the place of one that cannot be read.
            field: of the request that they came from, for messages.

        Raises:
            RequestError: more than a request may have.
        """
        if len(records) > self.settings.limits.records:
            raise RequestError(
                f"{len(records)} records in one request: {self.settings.limits.records} at most", field=field
            )
        return await self.queue.grade(records, seconds=self.settings.limits.seconds)

    async def grades(self, records: Sequence[Mapping[str, Any] | RecordError], *, field: str) -> list[Grade]:
        """Grades of records, all or none.

        Raises:
            RequestError: a record cannot be graded; says which and why.
        """
        found: list[Grade] = []
        for number, result in enumerate(await self.results(records, field=field)):
            if isinstance(result, RecordError):
                raise RequestError(result.told("http"), field=f"{field}.{number}" if field else "") from result
            found.append(result)
        return found
