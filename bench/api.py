"""The few operations of the wire contract that the bench drives, over `client.Connection`."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .client import Connection, Exchange, Head, Tokens


class UnexpectedStatus(Exception):
    """The server refused what every wire-compatible server accepts."""


class RunFailed(Exception):
    """The stream carried an `error` event."""


class Api:
    """One server's address. Connections are the caller's, so that a scenario decides what is timed."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    @asynccontextmanager
    async def connection(self, receive_bytes: int | None = None) -> AsyncIterator[Connection]:
        connection = await Connection.open(self.host, self.port, receive_bytes)
        try:
            yield connection
        finally:
            connection.close()

    async def call(self, connection: Connection, method: str, path: str, body: Any = None) -> bytes:
        """One exchange to its end; anything but 2xx raises."""
        parts: list[bytes] = []
        exchange = connection.send(method, path, body, lambda part, now: parts.append(part))
        head = await exchange.head
        await exchange.done
        content = b"".join(parts)
        _check(head, method, path, content)
        return content

    async def ok(self) -> None:
        async with self.connection() as connection:
            await self.call(connection, "GET", "/ok")

    async def thread(self, connection: Connection) -> str:
        return str(json.loads(await self.call(connection, "POST", "/threads", {}))["thread_id"])

    async def threads(self, count: int) -> list[str]:
        async with self.connection() as connection:
            return [await self.thread(connection) for _ in range(count)]

    async def stream(
        self, connection: Connection, thread_id: str, graph: str, tokens: Tokens, **given: Any
    ) -> None:
        """A stream from the request to its clean end."""
        exchange = await self.start(connection, thread_id, graph, tokens, **given)
        await exchange.done
        if tokens.failed:
            raise RunFailed(f"{graph} {given}")

    async def start(
        self,
        connection: Connection,
        thread_id: str,
        graph: str,
        tokens: Tokens,
        *,
        stall: bool = False,
        **given: Any,
    ) -> Exchange:
        """A stream from the request to the head of its answer; tokens go on arriving."""
        path = f"/threads/{thread_id}/runs/stream"
        exchange = connection.send("POST", path, run_body(graph, given), tokens.feed, stall=stall)
        _check(await exchange.head, "POST", path, b"")
        return exchange


def run_body(graph: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"assistant_id": graph, "input": given, "stream_mode": "messages-tuple"}


def run_path(exchange: Exchange) -> str:
    """Where the run of this answer lives: `/threads/{t}/runs/{r}`."""
    return exchange.head.result().headers[b"content-location"].decode()


def _check(head: Head, method: str, path: str, content: bytes) -> None:
    if not 200 <= head.status < 300:
        raise UnexpectedStatus(f"{method} {path}: {head.status} {content[:300]!r}")
