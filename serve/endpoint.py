"""One address that the server answers at, and how a request becomes an answer."""

import asyncio
from codecs import BOM_UTF8
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lager_onnx.models.errors import LagerError
from lager_onnx.runtime.records.json_text import loads, names_twice
from lager_onnx.serve.errors import RequestError, error_response
from lager_onnx.serve.grading import ClosingError
from lager_onnx.serve.service import Service

T = TypeVar("T")


class Body(BaseModel):
    """A request's body. Fields that nobody here knows are let through: clients grow them."""

    model_config = ConfigDict(extra="ignore")

    def check(self) -> None:
        """Refuse what the form allows and no answer can keep.

        Raises:
            RequestError: names the field.
        """


class ForModel(Body):
    """A request that may name the judge that it wants."""

    model: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """An address for POST.

    Attributes:
        path: of it.
        body: what a request holds.
        answer: makes the answer, which becomes JSON.
        about: one sentence.
    """

    path: str
    body: type[BaseModel]
    answer: Callable[[Service, Any], Coroutine[Any, Any, Any]]
    about: str

    def route(self, service: Service) -> Route:
        """The address in a server."""

        async def endpoint(request: Request) -> Response:
            try:
                body = parse(self.body, await read_body(request, service.settings.limits.body))
                if isinstance(body, ForModel):
                    service.named(body.model)  # before anything is graded
                return JSONResponse(await _unless_gone(request, self.answer(service, body)))
            except (LagerError, TimeoutError, ClientDisconnect) as error:
                return error_response(error)
            except asyncio.CancelledError:  # the server stops, and its time to drain is over
                return error_response(ClosingError("the server stopped before this was graded: send it again"))

        return Route(self.path, endpoint, methods=["POST"])


async def _unless_gone(request: Request, answer: Coroutine[Any, Any, T]) -> T:
    """The answer; nobody works for a client that is gone.

    Raises:
        ClientDisconnect: it is.
    """
    answering, watching = asyncio.ensure_future(answer), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientDisconnect
        return answering.result()
    finally:
        answering.cancel()
        watching.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def read_body(request: Request, most: int) -> bytes:
    """The bytes of a request.

    Raises:
        RequestError: too many.
    """
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise RequestError(f"the request is longer than {most} bytes", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return bytes(content)


def parse(form: type[BaseModel], content: bytes) -> BaseModel:
    """A request's body, in UTF-8, perhaps with its byte order mark.

    Raises:
        RequestError: it is not JSON, not of that form, has a field twice in an object, or asks for what cannot be kept;
            names the first field that is wrong.
    """
    content = content.removeprefix(BOM_UTF8)  # some clients on Windows write it
    try:
        body = form.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        status = HTTPStatus.BAD_REQUEST if first["type"] == "json_invalid" else HTTPStatus.UNPROCESSABLE_ENTITY
        where = f"{field}: " if field else ""
        raise RequestError(f"{where}{first['msg']}", field=field, status=status) from error
    try:
        twice = names_twice(loads(content))
    except (ValueError, RecursionError) as error:  # such as a number of 5,000 digits
        raise RequestError(f"the body cannot be read: {error}", status=HTTPStatus.BAD_REQUEST) from error
    if twice is not None:
        raise RequestError(twice.told("http"), status=HTTPStatus.BAD_REQUEST)
    if isinstance(body, Body):
        body.check()
    return body
