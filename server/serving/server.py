"""The listener: a socket of our own, uvicorn on it, and an orderly end when a signal comes."""

import asyncio
import contextlib
import errno
import ipaddress
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

import uvicorn
from sse_starlette.sse import AppStatus
from starlette.types import ASGIApp

from ..errors import ConfigError
from .strict_http import Limits, limited
from .unframed import Protocol, WebSocketProtocol

BACKLOG = 2048
# Longer than the 60 s for which proxies keep idle connections, so that none sends on one we are just closing.
KEEP_ALIVE_SECONDS = 75
WEBSOCKET_BYTES_MAX = 32 * 2**20  # of one message: a command
# For answers that are no streams; they had the time that runs get to end.
REQUEST_GRACE_SECONDS = 1
# For exit hooks, such as those that send the last traces.
EXIT_SECONDS_MAX = 1.0


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else starts, so that a busy one is an error at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}: {error.strerror}; choose another with --host") from error
    try:
        # Without it the port stays taken for a minute after every stop.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(_refusal(host, port, error)) from error
    return sock


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no address {host}; choose another with --host"
    return f"cannot listen on port {port} of {host}: {error.strerror}; choose another with --port"


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM."""

    certificate: str
    key: str


def tls_of(certificate: str | None, key: str | None) -> Tls | None:
    """The two flags, which go together. Raises ConfigError."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("--ssl-certfile and --ssl-keyfile belong together: give both, or none for HTTP.")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        text = error.strerror or str(error)
        raise ConfigError(f"cannot use {certificate} with the key {key}: {text}") from error
    return Tls(certificate, key)


def address_of(host: str, sock: socket.socket, tls: Tls | None = None) -> str:
    """The URL under which a client on this machine reaches the socket."""
    port = sock.getsockname()[1]
    scheme = "http" if tls is None else "https"
    if host in ("", "0.0.0.0", "::"):
        return f"{scheme}://127.0.0.1:{port}"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: they end the process by the signal, not with status 0."""

    def __init__(
        self,
        app: ASGIApp,
        on_ready: Callable[[], None],
        limits: Limits | None = None,
        tls: Tls | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ssl_certfile=tls.certificate if tls else None,
                ssl_keyfile=tls.key if tls else None,
                http=limited(limits or Limits(), Protocol),
                ws=WebSocketProtocol,
                ws_max_size=WEBSOCKET_BYTES_MAX,
                ws_per_message_deflate=False,  # that would take most of a socket's memory
                lifespan="off",  # the wiring is entered and left around the server
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=REQUEST_GRACE_SECONDS,
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def leave_on_signals() -> None:
    """Until the server is up, SIGTERM and SIGINT end the process at once: nothing is there to end in order.

    SIGTERM needs a handler because a container's first process has none by default and would ignore it.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # A reloading parent lets us ignore it (reload.py).
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))


def end_on_signals(
    server: Server, drain: Callable[[], Coroutine[Any, Any, None]], parent: int | None = None
) -> None:
    """The first SIGTERM or SIGINT begins the orderly end, the second ends the process at once.

    Meanwhile the server still answers: readers see their runs to the end, and a run that is asked for now is
    kept for the next process.

    `parent` is the reading end of a pipe that a reloading parent holds open. Then the parent alone decides: a
    Ctrl-C reaches both, so ours is left to it, and its death is our end.
    """
    # sse-starlette watches uvicorn for the same purpose, twice a second. One mechanism is enough, and theirs
    # must not wake up when somebody gives uvicorn its handlers back.
    AppStatus.enable_automatic_graceful_drain = False
    loop = asyncio.get_running_loop()

    ending: list[asyncio.Task[None]] = []

    async def end() -> None:
        # Streams first: uvicorn waits for open connections, so an open stream would hold up all the rest.
        try:
            await drain()
        finally:
            server.should_exit = True

    def begin() -> None:
        ending.append(loop.create_task(end()))

    def on_signal(number: int) -> None:
        if ending:
            os._exit(128 + number)
        begin()

    def on_orphaned(pipe: int) -> None:
        loop.remove_reader(pipe)
        begin()

    loop.add_signal_handler(signal.SIGTERM, on_signal, signal.SIGTERM)
    if parent is None:
        loop.add_signal_handler(signal.SIGINT, on_signal, signal.SIGINT)
    else:
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        loop.add_reader(parent, on_orphaned, parent)


def exit_soon() -> None:
    """Do not let a thread of a graph that never returns keep the process alive: Python would wait for it."""
    sys.stdout.flush()
    timer = threading.Timer(EXIT_SECONDS_MAX, os._exit, (0,))
    timer.daemon = True
    timer.start()
