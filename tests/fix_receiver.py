"""A receiver of webhooks on loopback: a real socket that notes what came and answers as the test says."""

import base64
import contextlib
import hashlib
import hmac
import json
import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Hook:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    sock: socket.socket

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def answer(self, status: int, *headers: str, body: bytes = b"") -> None:
        """Answer a request that is being held."""
        head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
        self.sock.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        self.sock.close()

    def signed_by(self, key: bytes) -> bool:
        """Whether one of the signatures is right, by the text of the Standard Webhooks specification."""
        content = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.{self.body.decode()}"
        right = base64.b64encode(hmac.new(key, content.encode(), hashlib.sha256).digest()).decode()
        return f"v1,{right}" in self.headers.get("webhook-signature", "").split(" ")


class Receiver:
    """Answers with each of `script` in turn, then with 200. `hold` leaves the answer to the test."""

    def __init__(
        self, *script: int | str, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._script = list(script)
        self._tls = tls
        self._came: queue.SimpleQueue[Hook] = queue.SimpleQueue()
        self._open: list[socket.socket] = []
        self.connections = 0
        self.server_names: list[str | None] = []
        if tls is not None:
            tls.sni_callback = lambda _, name, __: self.server_names.append(name)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def next(self, seconds: float = WAIT_SECONDS) -> Hook:
        """The next request, in the order they came."""
        try:
            return self._came.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError("no webhook came") from None

    @property
    def empty(self) -> bool:
        return self._came.empty()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it may be closed already
            self._listener.shutdown(socket.SHUT_RDWR)  # a thread that accepts holds on to it otherwise
        self._listener.close()
        for sock in self._open:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(WAIT_SECONDS)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._open.append(sock)
            hook = _read(sock)
        except (OSError, ValueError):  # no TLS, or nothing was sent
            sock.close()
            return
        turn = self._script.pop(0) if self._script else 200
        self._came.put(hook)
        if isinstance(turn, int):
            location = ("Location: /elsewhere",) if 300 <= turn < 400 else ()
            with contextlib.suppress(OSError):  # who asked may be gone, or the test over
                hook.answer(turn, *location)


def _read(sock: socket.socket) -> Hook:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := sock.recv(65536)):
            raise ValueError("no request")
        data += part
    head, body = data.split(b"\r\n\r\n", 1)
    first, *lines = head.decode().split("\r\n")
    pairs = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    headers = dict(pairs)
    assert len(pairs) == len(headers), f"a header came twice: {pairs}"
    while len(body) < int(headers["content-length"]):
        if not (part := sock.recv(65536)):
            raise ValueError("a request that was cut")
        body += part
    method, target, _ = first.split(" ")
    return Hook(method, target, headers, body, sock)


class Receivers:
    """Makes receivers; all are closed at the end of the test."""

    def __init__(self) -> None:
        self._made: list[Receiver] = []

    def __call__(self, *script: int | str, **options: Any) -> Receiver:
        self._made.append(Receiver(*script, **options))
        return self._made[-1]

    def close(self) -> None:
        for receiver in self._made:
            receiver.close()


@pytest.fixture
def receiver() -> Iterator[Receivers]:
    made = Receivers()
    yield made
    made.close()
