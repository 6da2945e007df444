"""A lean HTTP/1.1 client on a raw socket, so that the load generator is never the bottleneck.

It knows just enough to undo chunked bodies and to find the stamped tokens in them; frames are not parsed.
"""

import asyncio
import json
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

TOKEN = re.compile(rb"@(\d+):(\d+)@")
STAMP_BYTES_MAX = 64  # longer than any stamp: what a token cut in two by a packet may leave behind

Sink = Callable[[bytes, int], None]


@dataclass(slots=True)
class Tokens:
    """What one stream brought: token numbers, emission and arrival times, and whether a run failed in it."""

    numbers: list[int] = field(default_factory=list)
    emitted: list[int] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)
    failed: bool = False
    _tail: bytes = b""

    def feed(self, body: bytes, now: int) -> None:
        data = self._tail + body
        end = 0
        for match in TOKEN.finditer(data):
            self.numbers.append(int(match[1]))
            self.emitted.append(int(match[2]))
            self.arrived.append(now)
            end = match.end()
        self.failed = self.failed or b"event: error" in data
        self._tail = data[max(end, len(data) - STAMP_BYTES_MAX) :]

    @property
    def added(self) -> list[int]:
        """Nanoseconds from each token's emission to its arrival."""
        return [arrived - emitted for arrived, emitted in zip(self.arrived, self.emitted, strict=True)]

    def missing(self, expected: int) -> int:
        """How many of `expected` tokens did not arrive exactly once and in order."""
        if self.numbers == list(range(expected)):
            return 0
        return max(1, expected - len(set(self.numbers)))


@dataclass(slots=True)
class Head:
    """Status and headers, names in lower case."""

    status: int
    headers: dict[bytes, bytes]


class Exchange:
    """A request under way."""

    def __init__(self, sink: Sink, *, stall: bool) -> None:
        loop = asyncio.get_running_loop()
        self.sink, self.stall = sink, stall
        self.head: asyncio.Future[Head] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    def cut(self) -> None:
        for future in (self.head, self.done):
            if not future.done():
                future.set_exception(ConnectionError("the server cut the connection"))
                future.exception()  # nobody may be waiting for it


class Connection(asyncio.Protocol):
    """One socket, one exchange at a time; the body goes to a sink as it arrives."""

    _transport: asyncio.Transport
    _exchange: Exchange

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0  # bytes of the present chunk or body still to come
        self._chunked = False
        self._in_body = False

    @classmethod
    async def open(cls, host: str, port: int, receive_bytes: int | None = None) -> "Connection":
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, host, port)
        if receive_bytes is not None:
            raw = protocol._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        return protocol

    def send(self, method: str, path: str, body: Any, sink: Sink, *, stall: bool = False) -> Exchange:
        """Start an exchange. With `stall` nothing is read after the head, ever."""
        self._exchange, self._in_body = Exchange(sink, stall=stall), False
        payload = b"" if body is None else json.dumps(body).encode()
        self._transport.write(
            b"%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (method.encode(), path.encode(), len(payload), payload)
        )
        return self._exchange

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if hasattr(self, "_exchange"):
            self._exchange.cut()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self._buffer = self._buffer + data if self._buffer else data
        if not self._in_body and not self._read_head():
            return
        used = self._read_chunks(now) if self._chunked else self._take(0, now)
        self._buffer = self._buffer[used:]
        if not self._chunked and not self._left:
            self._finish()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        status, *lines = self._buffer[:end].split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        self._buffer = self._buffer[end + 4 :]
        self._in_body = True
        self._chunked = b"chunked" in headers.get(b"transfer-encoding", b"")
        self._left = 0 if self._chunked else int(headers.get(b"content-length", b"0"))
        self._exchange.head.set_result(Head(int(status.split()[1]), headers))
        if self._exchange.stall:
            self._transport.pause_reading()
        return True

    def _take(self, start: int, now: int) -> int:
        """Hand what is there of the body or chunk to the sink; where it ends in the buffer."""
        part = self._buffer[start : start + self._left]
        self._left -= len(part)
        if part:
            self._exchange.sink(part, now)
        return start + len(part)

    def _read_chunks(self, now: int) -> int:
        """Hand over every chunk in the buffer, and the part that is there of the last; how far that went."""
        buffer, position = self._buffer, 0
        while position < len(buffer):
            if self._left:
                position = self._take(position, now)
                continue
            start = (
                position + 2 if buffer.startswith(b"\r\n", position) else position
            )  # ends the chunk before
            end = buffer.find(b"\r\n", start)
            if end < 0:
                break
            self._left = int(buffer[start:end].partition(b";")[0], 16)
            if not self._left and not buffer.startswith(b"\r\n", end + 2):
                break  # the last chunk's empty line is still to come
            position = end + 2
            if not self._left:
                self._finish()
                return position + 2
        return position

    def _finish(self) -> None:
        if not self._exchange.done.done():
            self._exchange.done.set_result(None)
