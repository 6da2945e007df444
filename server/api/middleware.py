"""What surrounds every request, as plain ASGI that never re-buffers: request id, access log."""

import time
import uuid
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..http_rules import SECRET_IN_LOGS, HeaderChoice

_log = structlog.get_logger("graphwire.access")


_NOSNIFF = (b"x-content-type-options", b"nosniff")  # reliability B5


class Surroundings:
    """Gives each request an id (the client's if it sent a sane one) and logs it when it is over."""

    def __init__(self, app: ASGIApp, logged: HeaderChoice | None = None) -> None:
        self._app = app
        self._logged = logged or HeaderChoice()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = _request_id(scope)
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), _NOSNIFF]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            ms = round((time.perf_counter() - started) * 1000, 1)
            _log.debug(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=ms,
                request_id=request_id,
                **self._headers(scope),
            )

    def _headers(self, scope: Scope) -> dict[str, Any]:
        """The headers that `http.logging_headers` asks for; never what opens a door."""
        found = self._logged.take(scope["headers"], never=SECRET_IN_LOGS)
        return {"headers": found} if found else {}


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and 0 < len(value) <= 128 and value.isascii():
            text: str = value.decode("ascii")
            if text.isprintable():
                return text
    return str(uuid.uuid4())
