"""What the server counts, for Prometheus."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lager_onnx.serve.service import Service

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters of one server, and the middleware that feeds them."""

    def __init__(self, service: Service, paths: frozenset[str]):
        self._registry, self._paths = CollectorRegistry(), paths
        self._requests = Counter(
            "lager_requests_total", "Requests answered", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "lager_request_seconds", "From a request to its answer", ["path"], buckets=_SECONDS, registry=self._registry
        )
        queue = service.queue
        self._gauge("lager_waiting_records", "Records that wait to be graded", lambda: queue.waiting)
        self._gauge("lager_graded_records", "Records graded so far", lambda: queue.graded_records)
        self._gauge("lager_graded_tokens", "Tokens of their prompts", lambda: queue.graded_tokens)

    def _gauge(self, name: str, about: str, value: Callable[[], float]) -> None:
        Gauge(name, about, registry=self._registry).set_function(value)

    def page(self, _request: Request) -> Response:
        """GET /metrics."""
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    def measured(self, app: ASGIApp) -> ASGIApp:
        """The app, with its requests counted; addresses that it does not have, under one name."""

        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            path = scope["path"] if scope["path"] in self._paths else "other"
            begin, status = perf_counter(), 500  # until an answer begins

            async def watched(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, watched)
            except asyncio.CancelledError:
                status = 499  # as nginx says of clients that are gone
                raise
            finally:
                self._requests.labels(path, str(status)).inc()
                self._seconds.labels(path).observe(perf_counter() - begin)

        return middleware
