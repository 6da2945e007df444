"""A way to a server that can be cut, and one on which nothing moves: what networks do at their worst."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

RESET = struct.pack("ii", 1, 0)  # with SO_LINGER, closing sends RST


class Proxy:
    """Passes on what is sent to its port on loopback, to another port and back."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._changing = threading.Lock()
        self._is_cut = False
        self._moving = threading.Event()
        self._moving.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def uri(self, uri: str) -> str:
        """The address of the server behind it, by way of this proxy."""
        return uri.replace(f":{self._target}/", f":{self.port}/")

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Meanwhile every connection is reset, those that are there and those that are tried."""
        with self._changing:
            self._is_cut = True
            self._reset_all()
        try:
            yield
        finally:
            self._is_cut = False

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Meanwhile nothing passes and nobody is told; afterwards it all arrives."""
        self._moving.clear()
        try:
            yield
        finally:
            self._moving.set()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._moving.set()
        with self._changing:
            self._is_cut = True
            self._reset_all()

    def _reset_all(self) -> None:
        for sock in self._open:
            _reset(sock)
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._moving.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            _reset(near)
            return
        with self._changing:
            self._open |= {near, far}
            if self._is_cut:
                self._reset_all()
        back = threading.Thread(target=_pass_on, args=(far, near, self._moving), daemon=True)
        back.start()
        _pass_on(near, far, self._moving)
        back.join()
        with self._changing:
            self._open -= {near, far}
        near.close()
        far.close()


def _pass_on(source: socket.socket, sink: socket.socket, moving: threading.Event) -> None:
    """Until the source says no more; if it breaks off, so does the sink."""
    try:
        while data := source.recv(65536):
            moving.wait()
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        _reset(source)
        _reset(sink)


def _reset(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
    sock.close()
