"""JSON out, streams out, and the one table from errors to statuses."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import structlog
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import (
    AccessFailed,
    Conflict,
    Contradiction,
    EmbeddingFailed,
    Forbidden,
    GraphFailed,
    GraphwireError,
    Invalid,
    NotAGraph,
    NotFound,
    NotJson,
    NotReady,
    Overloaded,
    Refused,
    RequestError,
    StorageFull,
    StorageUnavailable,
    Superseded,
    TooLarge,
    TooMany,
    Unauthorized,
)
from ..streaming.broker import Cut
from ..streaming.encode import encode

_log = structlog.get_logger(__name__)

STATUS: dict[type[GraphwireError], int] = {
    Invalid: 422,
    Contradiction: 400,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    NotJson: 415,
    NotAGraph: 424,
    GraphFailed: 400,
    Overloaded: 503,
    NotReady: 503,
    EmbeddingFailed: 502,
    StorageFull: 507,
    StorageUnavailable: 503,
    TooMany: 429,
    Superseded: 409,
    RequestError: 400,
    Unauthorized: 401,
    Forbidden: 403,
    AccessFailed: 500,
}


def json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON; bytes are JSON already."""
    data = value if isinstance(value, bytes) else encode(value)
    return Response(data, status, headers, "application/json")


def no_content(status: int = 204) -> Response:
    return Response(status_code=status)


class Live(EventSourceResponse):
    """A response that comes in parts as they arise and notices when the client is gone.

    sse-starlette brings that and the send timeout; its pings and its shutdown watcher stay off: the rhythm
    comes from `streaming.sse`, the cut from the broker (design 5.2).
    """

    def __init__(
        self, parts: AsyncIterator[bytes], headers: Mapping[str, str], send_timeout: float, media_type: str
    ) -> None:
        super().__init__(parts, headers=headers, media_type=media_type, ping=0, send_timeout=send_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all parts. Where that is not possible break the connection off: never end it cleanly."""
        transport = scope.get("graphwire.transport")  # without our own listener the server does it for us
        try:
            if scope["method"] == "HEAD":
                await super().__call__(scope, receive, send)
            else:
                await self._stream_while_connected(receive, send)
            return
        except Cut:
            leave = transport.close if transport else None
        except SendTimeoutError:
            _log.info("cut off a reader that does not read", path=scope["path"])
            leave = transport.abort if transport else None  # close would wait for the reader
        if leave is not None:
            leave()
            while (await receive())["type"] != "http.disconnect":
                pass

    async def _stream_while_connected(self, receive: Receive, send: Send) -> None:
        """Stream until the end or until the client is gone: in this task, with one more that listens.

        sse-starlette's own way is a task group of three; a thousand idle streams feel the difference.
        """
        task = asyncio.current_task()
        assert task is not None
        listener = asyncio.create_task(self._listen_for_disconnect(receive))
        listener.add_done_callback(lambda done: None if done.cancelled() else task.cancel())
        try:
            await self._stream_response(send)
        except asyncio.CancelledError:
            if not listener.done():
                raise
            task.uncancel()
        finally:
            listener.cancel()


def event_stream(parts: AsyncIterator[bytes], location: Mapping[str, str], send_timeout: float) -> Response:
    """A stream of server-sent events. `no-transform`: a proxy that compresses would hold tokens back."""
    headers = {**location, "cache-control": "no-store, no-transform"}
    return Live(parts, headers, send_timeout, "text/event-stream")


def live_json(parts: AsyncIterator[bytes], location: Mapping[str, str], send_timeout: float) -> Response:
    """JSON whose value comes at the end, after blank lines that keep the connection alive."""
    return Live(parts, location, send_timeout, "application/json")


async def graphwire_error(request: Request, error: Exception) -> Response:
    """A broken rule as `{"detail": ...}`."""
    assert isinstance(error, GraphwireError)
    if isinstance(error, Refused):
        return json({"detail": error.detail}, error.status, error.headers)
    status = status_of(error)
    headers = {"retry-after": "1"} if status in (429, 503) else None
    if status == 401:
        headers = {"www-authenticate": "Bearer"}
    return json({"detail": error.message}, status, headers)


def status_of(error: GraphwireError) -> int:
    """The HTTP status of a broken rule."""
    if isinstance(error, Refused):
        return error.status
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


async def http_error(request: Request, error: Exception) -> Response:
    """No such route or method."""
    assert isinstance(error, HTTPException)
    return json({"detail": error.detail}, error.status_code, error.headers)


async def client_left(request: Request, error: Exception) -> Response:
    """The client went before its request was whole: nobody will read this, and nothing is wrong here."""
    return json({"detail": "The request is not complete."}, 400)


async def unexpected_error(request: Request, error: Exception) -> Response:
    """A defect: the caller learns nothing of it, the log everything."""
    _log.error("request failed", path=request.scope["path"], exc_info=error)
    return json({"detail": "Internal Server Error"}, 500)
