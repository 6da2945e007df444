"""A proxy between a client and the server that cuts streams: after so many bytes, cleanly or with a reset.

Only bodies of event streams are counted and cut; all else passes. Those that are to end cleanly are sent
without chunks, until the connection closes, so that the end can come after any byte: to the client it looks
like the end of it all. The others keep their chunks: Node takes a reset for a clean end where there are none.
"""

import queue
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import pytest

How = Literal["reset", "end", "whole"]
LAST_CHUNK = b"0\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: closing sends RST


@dataclass(frozen=True)
class Cut:
    """After `bytes` of an event stream's body; `whole`: ends cleanly after the event that they fall into."""

    bytes: int
    how: How


class Chunks:
    """The chunks of a body -> its bytes."""

    def __init__(self) -> None:
        self._rest = b""
        self.over = False

    def feed(self, data: bytes) -> bytes:
        self._rest += data
        body = b""
        while b"\r\n" in self._rest:
            size, _, rest = self._rest.partition(b"\r\n")
            end = int(size, 16)
            if len(rest) < end + 2:
                break
            body, self._rest = body + rest[:end], rest[end + 2 :]
            self.over = end == 0
        return body


class Cutter:
    """Listens on a port of its own; `plan` cuts for the next streams, one each. The rest pass whole.

    `only` streams whose request holds these bytes are cut.
    """

    def __init__(self, target: int, only: bytes = b"") -> None:
        self._target = target
        self._only = only
        self._asked: dict[socket.socket, bytes] = {}  # the last that was sent to a server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._plan: queue.SimpleQueue[Cut] = queue.SimpleQueue()
        self._open: set[socket.socket] = set()
        self.streams = 0  # that have begun
        self.made = 0  # cuts
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def plan(self, *cuts: Cut) -> None:
        for cut in cuts:
            self._plan.put(cut)

    def cut_now(self, how: How = "reset") -> int:
        """Cut whatever is open; how many there were."""
        cut = list(self._open)
        for sock in cut:
            _leave(sock, how)
        return len(cut)

    def close(self) -> None:
        self._listener.close()
        self.cut_now()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open.add(client)
            for work in (self._requests, self._answers):
                threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                self._asked[server] = data
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        how: How = "end"
        with suppress(OSError):
            while data := server.recv(65536):
                head, _, body = data.partition(b"\r\n\r\n")
                if re.search(rb"\ncontent-type: text/event-stream", head, re.IGNORECASE):
                    how = self._stream(client, server, head, body)
                    break
                client.sendall(data)
        self._open.discard(client)
        server.close()
        _leave(client, how)

    def _stream(self, client: socket.socket, server: socket.socket, head: bytes, data: bytes) -> How:
        """Pass an event stream on, up to the next cut; how it ends."""
        cut = self._next_cut() if self._only in self._asked[server] else None
        plain = cut is not None and cut.how != "reset"
        if plain:
            head = re.sub(rb"(?i)\r\ntransfer-encoding: chunked", b"\r\nconnection: close", head)
        client.sendall(head + b"\r\n\r\n")
        self.streams += 1
        chunks, left = Chunks(), cut.bytes if cut else 0
        while True:
            body = chunks.feed(data)
            if cut is not None and (end := _place(body, left, cut.how)) is not None:
                client.sendall(body[:end] if plain else _chunk(body[:end]))
                self.made += 1
                return cut.how
            client.sendall(body if plain else _chunk(body))
            left = max(left - len(body), 0)
            if chunks.over:
                client.sendall(b"" if plain else LAST_CHUNK)
                return "end"
            if not (data := server.recv(65536)):
                return "reset"  # the server has broken off

    def _next_cut(self) -> Cut | None:
        try:
            return self._plan.get_nowait()
        except queue.Empty:
            return None


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


def _place(body: bytes, left: int, how: How) -> int | None:
    """Where to cut these bytes, of which `left` pass; None: not in them."""
    if how != "whole":
        return left if len(body) >= left else None
    at = body.find(b"\r\n\r\n", max(left - 4, 0))
    return None if at < 0 else at + 4


def _leave(sock: socket.socket, how: How) -> None:
    with suppress(OSError):
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.shutdown(socket.SHUT_RD)  # wakes who reads: while he does, the socket stays open
        else:
            sock.shutdown(socket.SHUT_RDWR)
    sock.close()


MakeCutter = Callable[..., Cutter]


@pytest.fixture
def proxy_to() -> Iterator[MakeCutter]:
    """A proxy in front of a port."""
    made: list[Cutter] = []

    def make(port: int, **options: bytes) -> Cutter:
        made.append(Cutter(port, **options))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()
