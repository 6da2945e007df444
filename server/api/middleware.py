"""What surrounds every request, as plain ASGI that never re-buffers: its id, what is counted of it."""

import logging
import time
import uuid
from time import monotonic
from typing import Any

import structlog
from starlette._utils import get_route_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from ..rules.http import SECRET_IN_LOGS, HeaderChoice
from ..telemetry.meters import Meters, Reader
from .authentication import caller_of

_log = structlog.get_logger("graphwire.access")

NO_ROUTE = "none"
PROBES = ("/", "/ok", "/metrics")  # asked for all the time
_NOSNIFF = (b"x-content-type-options", b"nosniff")  # reliability B5


class Surroundings:
    """Gives each request an id (the client's if it sent a sane one), counts and logs it when it is over."""

    def __init__(
        self,
        app: ASGIApp,
        logged: HeaderChoice | None = None,
        meters: Meters | None = None,
        *,
        access_log: bool = True,
    ) -> None:
        self._app = app
        self._logged = logged or HeaderChoice()
        self._meters = meters
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = _request_id(scope)
        answer = Answer(send, request_id, self._meters)
        with bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, answer.send)
            finally:
                answer.close()
                self._count(scope, answer)
                if self._access_log:
                    self._tell(scope, answer)

    def _count(self, scope: Scope, answer: "Answer") -> None:
        if self._meters is not None:
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            self._meters.answered(_method(scope), route, answer.status, answer.after, answer.bytes)

    def _tell(self, scope: Scope, answer: "Answer") -> None:
        """One line: nothing of the query or the body, of the headers only what was asked for."""
        told: dict[str, Any] = {
            "method": _method(scope),
            "path": scope["path"],
            "status": answer.status,
            "ms": round((time.perf_counter() - answer.asked_at) * 1000, 1),
            "bytes": answer.bytes,
        }
        if (caller := caller_of(scope)) is not None and caller.identity:
            told["identity"] = caller.identity
        # What `http.logging_headers` asks for; never what opens a door.
        if found := self._logged.take(scope["headers"], never=SECRET_IN_LOGS):
            told["headers"] = found
        _log.log(logging.DEBUG if get_route_path(scope) in PROBES else logging.INFO, "request", **told)


class Answer:
    """What goes back to one client. `after`: seconds until it began; None: it never did."""

    def __init__(self, send: Send, request_id: str, meters: Meters | None) -> None:
        self.asked_at = time.perf_counter()
        self.status = 0
        self.bytes = 0
        self.after: float | None = None
        self._send = send
        self._request_id = request_id.encode()
        self._meters = meters
        self._reader: Reader | None = None

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            self.bytes += len(message.get("body", b""))
        elif kind == "websocket.send":
            self.bytes += len(message.get("bytes") or message.get("text") or b"")
        elif kind in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            self._begin(message)
        elif kind == "websocket.close" and self.after is None:
            self.status = 403  # what a server makes of it
        reader = self._reader
        if reader is None:
            await self._send(message)
            return
        reader.since = monotonic()
        await self._send(message)
        reader.since = 0.0

    def _begin(self, message: Message) -> None:
        self.after = time.perf_counter() - self.asked_at
        self.status = message.get("status", 101)
        headers = list(message.get("headers", ()))
        more = [_NOSNIFF] if message["type"] == "http.response.start" else []
        message["headers"] = [*headers, (b"x-request-id", self._request_id), *more]
        kind = "socket" if message["type"] == "websocket.accept" else "events" if _is_stream(headers) else ""
        if self._meters is not None and kind:
            self._reader = Reader(kind)
            self._meters.readers.add(self._reader)

    def close(self) -> None:
        """Nothing more is sent."""
        if self._meters is not None and self._reader is not None:
            self._meters.readers.discard(self._reader)


def _is_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def _method(scope: Scope) -> str:
    return str(scope.get("method", "GET"))  # a WebSocket begins as a GET


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and 0 < len(value) <= 128 and value.isascii():
            text: str = value.decode("ascii")
            if text.isprintable():
                return text
    return str(uuid.uuid4())
