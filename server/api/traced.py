"""A span for every request but probes, where traces are collected."""

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from ..telemetry.tracing import Tracing, traceparent
from .middleware import NO_ROUTE, PROBES

HEADERS = (b"traceparent", b"tracestate")


class Traced:
    """Goes on with the trace of the client, and names its own span to whatever the request sets off."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or get_route_path(scope) in PROBES:
            await self._app(scope, receive, send)
            return
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        told = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in HEADERS}
        span = self._tracing.begin_request(scope.get("method", "GET"), scope["path"], told)
        token = traceparent.set(span.traceparent)
        try:
            with bound_contextvars(trace_id=span.trace_id):
                await self._app(scope, receive, seen)
        finally:
            traceparent.reset(token)
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            span.end(route, status, scope.get("request_id", ""))
