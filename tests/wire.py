"""A strict HTTP/1.1 and SSE client on a raw socket: exact bytes, chunk boundaries, how a response ended.

Client libraries forgive; this one does not. Whatever a stream must not hold is an AssertionError.
"""

import contextlib
import json
import re
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECONDS = 20.0
HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z ]*\Z")
HEADER = re.compile(rb"([a-z0-9-]+): ([^\r\n]*)\Z", re.I)
CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}\Z")
EVENT_NAME = re.compile(rb"[^\r\n\0]+\Z")
EVENT_ID = re.compile(rb"[0-9]+(-[0-9]+)?\Z")  # one number: protocol v2


class Closed(AssertionError):
    """The server closed the connection before it had answered."""


@dataclass(frozen=True)
class Frame:
    """One event as it stood on the wire."""

    event: str
    data: Any
    id: str
    raw: bytes = field(repr=False)
    retry: str | None = None

    @property
    def order(self) -> tuple[int, int]:
        major, _, minor = self.id.partition("-")
        return int(major), int(minor or 0)


class Frames:
    """Bytes → frames; keeps what is not a whole frame yet."""

    def __init__(self) -> None:
        self.rest = b""
        self.heartbeats = 0
        self.count = 0

    def feed(self, data: bytes) -> list[Frame]:
        *blocks, self.rest = (self.rest + data).split(b"\r\n\r\n")
        return [frame for block in blocks if (frame := self._frame(block)) is not None]

    def _frame(self, block: bytes) -> Frame | None:
        if block == b": heartbeat":
            self.heartbeats += 1
            return None
        lines = block.split(b"\r\n")
        assert not any(c in line for line in lines for c in (b"\n", b"\r")), (
            f"a bare line end in {block[:200]!r}"
        )
        retry = None
        if lines[-1].startswith(b"retry: "):
            assert self.count == 0, f"retry is allowed in the first frame only: {block[:200]!r}"
            retry = lines.pop().removeprefix(b"retry: ").decode()
        names = [line.split(b": ", 1)[0] for line in lines]
        assert names == [b"event", b"data", b"id"], f"a frame is event, data, id: {block[:200]!r}"
        event, data, event_id = (line.split(b": ", 1)[1] for line in lines)
        assert EVENT_NAME.match(event), f"not an event name: {event!r}"
        assert EVENT_ID.match(event_id), f"not an event id: {event_id!r}"
        assert len(event_id) <= 40, "ids are at most 40 bytes"
        self.count += 1
        return Frame(event.decode(), json.loads(data.decode()), event_id.decode(), block + b"\r\n\r\n", retry)


class Response:
    """The answer to one request, read as it arrives."""

    def __init__(self, sock: socket.socket, method: str) -> None:
        self._socket = sock
        self._buffer = b""
        self.raw_head = self._until(b"\r\n\r\n")
        first, *lines = self.raw_head.split(b"\r\n")
        match = HEAD.match(first)
        assert match, f"not a status line: {first!r}"
        self.status = int(match[1])
        self.headers = [self._header(line) for line in lines]
        self._method = method
        self.frames_seen = Frames()
        self.ended_by: str | None = None
        self.judge: Callable[[bytes], None] = lambda body: None  # sees every body that came to its end

    @staticmethod
    def _header(line: bytes) -> tuple[str, str]:
        match = HEADER.match(line)
        assert match, f"not a header: {line!r}"
        return match[1].decode().lower(), match[2].decode("latin-1")

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} is sent {len(values)} times"
        return values[0] if values else None

    # ---------------------------------------------------------------- body
    def chunks(self) -> Iterator[bytes]:
        """The body piece by piece; of a chunked body, exactly its chunks. `ended_by` says how it ended."""
        if self._method == "HEAD" or self.status in (204, 304):
            self.ended_by = "no body"
            return
        if self.header("transfer-encoding") is None:
            yield from self._sized()
            return
        assert self.header("transfer-encoding") == "chunked"
        assert self.header("content-length") is None, "chunked and content-length exclude each other"
        while True:
            size_line = self._until(b"\r\n", at_end_of="a chunk size")
            if self.ended_by:
                return
            assert CHUNK_SIZE.match(size_line), f"not a chunk size: {size_line!r}"
            size = int(size_line, 16)
            chunk = self._exactly(size)
            if self.ended_by:
                return
            assert self._exactly(2) == b"\r\n", "a chunk ends with CRLF"
            if size == 0:
                self.ended_by = "last chunk"
                return
            yield chunk

    def _sized(self) -> Iterator[bytes]:
        length = self.header("content-length")
        assert length is not None, "a body has a length or is chunked"
        body = self._exactly(int(length))
        if not self.ended_by:
            self.ended_by = "content-length"
        if body:
            yield body

    def body(self) -> bytes:
        with self._socket:
            body = b"".join(self.chunks())
        if self.ended_by in ("last chunk", "content-length"):
            self.judge(body)
        return body

    def json(self) -> Any:
        return json.loads(self.body().decode())

    # ---------------------------------------------------------------- events
    def frames(self) -> Iterator[Frame]:
        """Events as they arrive. A chunk holds whole frames."""
        for chunk in self.chunks():
            yield from self.frames_seen.feed(chunk)
            assert not self.frames_seen.rest, f"a frame is split over chunks: {self.frames_seen.rest[:200]!r}"

    def next_frame(self) -> Frame:
        if not hasattr(self, "_frames"):
            self._frames = self.frames()
        return next(self._frames)

    def next(self, event: str) -> Frame:
        """The next frame of that name; others before it are skipped."""
        while (frame := self.next_frame()).event != event:
            pass
        return frame

    def rest(self) -> list[Frame]:
        """All frames that are still to come, to the end of the stream."""
        if not hasattr(self, "_frames"):
            self._frames = self.frames()
        with self._socket:
            return list(self._frames)

    # ---------------------------------------------------------------- ending it
    def wire_bytes(self, count: int) -> bytes:
        """So many raw bytes of what follows the head, chunk sizes included; fewer at its end."""
        while len(self._buffer) < count and not self._buffer.endswith(b"\r\n0\r\n\r\n") and self._more():
            pass
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def reset(self) -> None:
        """Vanish: the server sees a connection reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Leave in good order: the server sees the end of the connection."""
        with self._socket:
            self._socket.shutdown(socket.SHUT_WR)
            try:
                while self._socket.recv(65536):
                    pass
            except ConnectionResetError:
                pass

    # ---------------------------------------------------------------- bytes
    def _until(self, mark: bytes, at_end_of: str = "") -> bytes:
        while mark not in self._buffer:
            if not self._more():
                if not at_end_of:
                    raise Closed(f"the server closed the connection: {self._buffer[:200]!r}")
                return b""
        line, self._buffer = self._buffer.split(mark, 1)
        return line

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._more():
                return b""
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _more(self) -> bool:
        try:
            data = self._socket.recv(262144)
        except ConnectionResetError:
            self.ended_by = "reset"
            return False
        if not data:
            self.ended_by = "cut"
            return False
        self._buffer += data
        return True


def dechunked(wire: bytes) -> bytes:
    """The body bytes in a piece of a chunked body that may end anywhere."""
    body = b""
    while b"\r\n" in wire:
        size_line, wire = wire.split(b"\r\n", 1)
        size = int(size_line, 16)
        body += wire[:size]
        if size == 0 or len(wire) < size + 2:
            break
        wire = wire[size + 2 :]
    return body


def request(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    *,
    raw: bytes | None = None,
    headers: dict[str, str] | None = None,
    receive_bytes: int | None = None,
) -> Response:
    """Send one request on a connection of its own; `raw` is sent as the body as it is.

    `receive_bytes` is how much the system takes for a reader that does not read.
    """
    sock = socket.socket()
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(TIMEOUT_SECONDS)
    sock.connect(("127.0.0.1", port))
    payload = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    all_headers = {"Host": f"127.0.0.1:{port}"}
    if body is not None or raw is not None:
        all_headers |= {"Content-Type": "application/json", "Content-Length": str(len(payload))}
    all_headers |= headers or {}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in all_headers.items()) + "\r\n"
    # a server may refuse a body before it has read it; the answer is there to be read
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(head.encode() + payload)
    return Response(sock, method)
