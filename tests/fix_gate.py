"""The other end of a node that speaks only when the test says so (graphs/gate.py).

The node connects to the test and waits for orders. So a test knows, without ever sleeping, that a token came
while the model was still speaking, that a node was stopped, or that a blocking call is going on.
"""

import contextlib
import json
import queue
import select
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

WAIT_SECONDS = 30.0


class Node:
    """One running node, held by the test."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lines = sock.makefile("r", encoding="utf-8")

    def order(self, **what: Any) -> None:
        self._socket.sendall(json.dumps(what).encode() + b"\n")

    def say(self, token: str) -> None:
        """Let the model emit a token."""
        self.order(token=token)

    def write(self, value: Any) -> None:
        """Let the node write a custom event."""
        self.order(custom=value)

    def fail(self, text: str) -> None:
        self.order(fail=text)

    def finish(self) -> None:
        """Let the model end; the node returns."""
        self.order(end=True)

    def hear(self) -> str:
        """What the node reports next: "cancelled", "woke", … or "" when it is gone."""
        return self._lines.readline().strip()

    def is_silent(self) -> bool:
        """It has reported nothing that was not heard yet, and is there."""
        return not select.select([self._socket], [], [], 0)[0]

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Gate:
    """Where nodes call in; `input(key)` tells a node how, `node(key)` waits for its call."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._calls: dict[str, queue.SimpleQueue[Node]] = defaultdict(queue.SimpleQueue)
        self._open: list[Node] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(WAIT_SECONDS)
            node = Node(sock)
            self._open.append(node)
            self._calls[node.hear()].put(node)

    def input(self, key: str | None = None, **more: Any) -> dict[str, Any]:
        return {"port": self._listener.getsockname()[1], "key": key or str(uuid4()), **more}

    def node(self, graph_input: dict[str, Any], seconds: float = WAIT_SECONDS) -> Node:
        try:
            return self._calls[graph_input["key"]].get(timeout=seconds)
        except queue.Empty:
            raise AssertionError("the node did not start") from None

    def started(self, graph_input: dict[str, Any]) -> bool:
        return not self._calls[graph_input["key"]].empty()

    def close(self) -> None:
        """Hang up: every node that still waits ends."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a thread that accepts holds on to it otherwise
        self._listener.close()
        for node in self._open:
            node.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()
