"""What a client is told when a request cannot be answered."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from lager_onnx.models.errors import GradingError, LagerError
from lager_onnx.serve.grading import ClosingError, QueueFullError


class RequestError(LagerError):
    """A request that cannot be answered as it is.

    Attributes:
        status: of the answer.
        field: that is wrong, such as `questions.0.levels`; "" for the request as a whole.
        code: name of the error for programs, where OpenAI's servers have one; else the status is its code.
    """

    def __init__(
        self, message: str, *, field: str = "", status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY, code: str = ""
    ):
        super().__init__(message)
        self.status, self.field, self.code = status, field, code


def error_response(error: Exception) -> JSONResponse:
    """The answer to a request that failed, as OpenAI's clients read it; of the server's inside it says nothing."""
    if isinstance(error, RequestError):
        kind = "authentication_error" if error.status == HTTPStatus.UNAUTHORIZED else "invalid_request_error"
        return _response(error.status, str(error), kind, error.field, error.code)
    if isinstance(error, QueueFullError):
        seconds = str(max(1, round(error.seconds)))
        return _response(HTTPStatus.TOO_MANY_REQUESTS, str(error), "rate_limit_error", headers={"Retry-After": seconds})
    if isinstance(error, ClosingError):
        return _response(HTTPStatus.SERVICE_UNAVAILABLE, str(error), "server_error", headers={"Retry-After": "5"})
    if isinstance(error, TimeoutError):
        message = "the request was not graded in time: send fewer records at once"
        return _response(HTTPStatus.GATEWAY_TIMEOUT, message, "server_error")
    if isinstance(error, GradingError):
        return _response(
            HTTPStatus.INTERNAL_SERVER_ERROR, "the judge failed; the server's log says why", "server_error"
        )
    if isinstance(error, ClientDisconnect):  # nobody reads this
        return _response(HTTPStatus.BAD_REQUEST, "the client is gone", "invalid_request_error")
    raise error


def _response(
    status: HTTPStatus,
    message: str,
    kind: str,
    field: str = "",
    code: str = "",
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    content: dict[str, Any] = {
        "error": {"message": message, "type": kind, "param": field or None, "code": code or status.value}
    }
    return JSONResponse(content, status, headers=headers)
