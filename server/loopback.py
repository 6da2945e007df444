"""The server's own app as an httpx transport, for clients within its process (contract/clients.md 3.7).

Graphs run on other threads and loops than HTTP is served on. So a request crosses to the server's loop, and
its answer comes back part by part as the app sends it. No thread waits, and a reader that is slow slows the
app down, as it would over a socket. Decision: docs/decisions/0008-loopback.md.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager, ExitStack, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from .asker import UNKNOWN, asker

_log = structlog.get_logger(__name__)

NOAUTH = "/noauth"  # the root path by which the SDK's clients within the process are known
PARTS_AHEAD = 16  # how many parts of an answer may wait for their reader; those of a stream have about 64 KiB

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Lend = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class _Door:
    app: App
    loop: asyncio.AbstractEventLoop
    lend: Lend


class Loopback:
    """The way to this process's app; there before the app, for graphs make clients while being imported."""

    def __init__(self) -> None:
        self._door: _Door | None = None

    def open(self, app: App, lend: Lend) -> None:
        """From now on requests are served, on the running loop.

        `lend(run_id)` is entered while a run waits for an answer that comes bit by bit, as others go on.
        """
        self._door = _Door(app, asyncio.get_running_loop(), lend)

    def ask(self, scope: Message, body: bytes, seconds: float | None) -> "_Answer":
        """Send a request; any thread that runs a loop. Raises httpx.ConnectError when nobody serves."""
        if self._door is None:
            raise httpx.ConnectError("The server is not up yet: it can be called from within once it is.")
        return _Answer(self._door, scope, body, seconds)


class LoopbackTransport(httpx.AsyncBaseTransport):
    """What a client speaks through. One client may be used from many loops at once."""

    def __init__(self, loopback: Loopback, root_path: str) -> None:
        self._loopback = loopback
        self._root_path = root_path

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        seconds = request.extensions.get("timeout", {}).get("read")
        answer = self._loopback.ask(self._scope(request), body, seconds)
        try:
            start = await answer.next()
        except BaseException:
            await answer.aclose()
            raise
        return httpx.Response(start["status"], headers=start["headers"], stream=answer)

    def _scope(self, request: httpx.Request) -> Message:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?")[0],
            "query_string": request.url.query,
            "root_path": self._root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (request.url.host, request.url.port),
            "client": None,
            "graphwire.within": self._root_path == NOAUTH,
        }


class _Answer(httpx.AsyncByteStream):
    """The reader's side of a request, on the reader's loop."""

    def __init__(self, door: _Door, scope: Message, body: bytes, seconds: float | None) -> None:
        self._arrived: asyncio.Queue[Message | None] = asyncio.Queue()
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._home = door.loop
        within = self._loop is not door.loop  # else a handler asks, on behalf of somebody outside
        self._call = _Call(door, scope, body, self._arrive, (asker.get() or UNKNOWN) if within else "")
        # Not in the context of the caller: what a node's context holds would become part of the runs that
        # are started here, and LangChain would report their tokens as the caller's own.
        context = Context()
        context.run(asker.set, self._call.asker)
        try:
            door.loop.call_soon_threadsafe(self._call.begin, context=context)
        except RuntimeError as error:
            raise httpx.ConnectError("The server has stopped.") from error

    def _arrive(self, message: Message | None) -> None:
        """Take a message over; the server's thread. Raises RuntimeError if the reader's loop is gone."""
        self._loop.call_soon_threadsafe(self._arrived.put_nowait, message)

    async def next(self) -> Message:
        """The app's next message. Raises what httpx raises for a socket."""
        try:
            async with asyncio.timeout(self._seconds):
                message = await self._arrived.get()
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"No answer from the server for {self._seconds} seconds.") from error
        if message is None:
            raise httpx.RemoteProtocolError("The server broke off its answer.")
        return message

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self.next()
            self._tell(self._call.taken)
            yield message.get("body", b"")
            more = message.get("more_body", False)

    async def aclose(self) -> None:
        """Be gone, whether all was read or not. Does not wait: it must work while being cancelled too."""
        self._tell(self._call.left)

    def _tell(self, what: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the server's loop is closed
            self._home.call_soon_threadsafe(what)


class _Call:
    """The app's side of a request, on the server's loop."""

    _under_way: set["asyncio.Task[None]"] = set()  # noqa: RUF012 - loops hold their tasks only weakly

    def __init__(
        self, door: _Door, scope: Message, body: bytes, arrive: Callable[[Message | None], None], asker: str
    ) -> None:
        self.asker = asker
        self._door = door
        self._scope = scope
        self._requests: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        self._arrive = arrive
        self._room = asyncio.Semaphore(PARTS_AHEAD)
        self._gone = asyncio.Event()
        self._loan = ExitStack()
        self._complete = False

    def begin(self) -> None:
        task = asyncio.get_running_loop().create_task(self._serve())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def taken(self) -> None:
        """The reader took a part: there is room for another."""
        self._room.release()

    def left(self) -> None:
        """The reader is gone; whoever waits for room need not wait any longer."""
        self._gone.set()
        self._room.release()

    async def _serve(self) -> None:
        try:
            with self._loan:
                await self._door.app(self._scope, self._receive, self._send)
        except Exception:
            if not self._complete:  # else it is Starlette's copy of an error that was answered and logged
                _log.exception("a request from within failed", path=self._scope["path"])
        finally:
            if not self._complete:
                self._hand_over(None)

    async def _receive(self) -> Message:
        if self._requests:
            return self._requests.pop()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started(message)
        elif message["type"] == "http.response.body":
            if not self._gone.is_set():
                await self._room.acquire()
            if self._scope["method"] == "HEAD":
                message = {**message, "body": b""}
            self._hand_over(message)
            self._complete = not message.get("more_body", False)

    def _started(self, message: Message) -> None:
        self._hand_over(message)
        whole = any(name == b"content-length" for name, _ in message["headers"])
        if self.asker and not whole:
            self._loan.enter_context(self._door.lend(self.asker))

    def _hand_over(self, message: Message | None) -> None:
        if self._gone.is_set():
            return
        try:
            self._arrive(message)
        except RuntimeError:  # the reader's loop was closed under the request
            self.left()
