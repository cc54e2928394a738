"""The server: its addresses, who may ask, and how it starts and ends."""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Final

from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lager_onnx.runtime.judge import Judge
from lager_onnx.serve.errors import RequestError, error_response
from lager_onnx.serve.metrics import Metrics
from lager_onnx.serve.openapi import openapi
from lager_onnx.serve.page import page_of
from lager_onnx.serve.protocols import ENDPOINTS
from lager_onnx.serve.service import Service, Settings

# Without a key: the page, health checks, and counts, which hold no text of any request.
_OPEN: Final = frozenset({"/", "/health", "/ready", "/metrics"})


def make_app(judge: Judge, settings: Settings) -> Starlette:
    """The server of a judge, as an ASGI application."""
    service = Service(judge, settings)
    routes = [endpoint.route(service) for endpoint in ENDPOINTS]
    document = openapi(ENDPOINTS, version("lager-onnx"))
    metrics = Metrics(service, frozenset({route.path for route in routes} | {"/v1/models"}))

    def page(_request: Request) -> Response:
        return HTMLResponse(page_of(service))

    def described(_request: Request) -> Response:
        return JSONResponse(document)

    def models(_request: Request) -> Response:
        return JSONResponse(_models(service))

    def health(_request: Request) -> Response:
        return _state(service.queue.alive)

    def ready(_request: Request) -> Response:
        return _state(service.queue.alive and not service.queue.closing)

    pages = {
        "/": page, "/openapi.json": described, "/v1/models": models, "/health": health, "/ready": ready,
        "/metrics": metrics.page,
    }  # fmt: skip
    routes += [Route(path, answer, methods=["GET"]) for path, answer in pages.items()]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await to_thread.run_sync(service.queue.close)
        judge.close()

    middleware = [Middleware(metrics.measured)]
    if settings.origins:
        middleware.append(
            Middleware(CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["*"], allow_headers=["*"])
        )
    if settings.api_key:
        middleware.append(Middleware(_KeyNeeded, key=settings.api_key))
    return Starlette(routes=routes, middleware=middleware, lifespan=lifespan)


class _KeyNeeded:
    """Lets in who sends the key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`."""

    def __init__(self, app: ASGIApp, key: str):
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN and not self._known(Request(scope)):
            refused = RequestError(
                "this server wants an API key: Authorization: Bearer KEY", status=HTTPStatus.UNAUTHORIZED
            )
            await error_response(refused)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _known(self, request: Request) -> bool:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if kind.lower() == "bearer" else request.headers.get("x-api-key", "")
        return hmac.compare_digest(given.encode(), self._key)  # takes as long for a wrong key as for the right one


def _models(service: Service) -> dict[str, object]:
    names, about = service.settings.names, f"LAGER judge made from {service.spec.source.checkpoint}"
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "lager-onnx"} for name in names],
        "models": [{"name": name, "description": about, "release_date": "1970-01-01"} for name in names],
    }


def _state(good: bool) -> Response:
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"status": "ok" if good else "stopping"}, status)
