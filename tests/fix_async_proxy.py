"""A way to a server that can be cut, and can fall silent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest


class Proxy:
    """Passes bytes on to a local port; while it is silent it keeps them, while it is cut nobody comes in."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def uri(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Close what is open and let nobody in, until `start`."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        for task in self._tasks:
            task.cancel()

    def silence(self) -> None:
        self._passes.clear()

    def speak(self) -> None:
        self._passes.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.ensure_future(self._pass(source, target))
            self._writers.add(target)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._passes.wait()
                target.write(data)
                await target.drain()
        self._writers.discard(target)
        target.close()


@pytest.fixture
async def open_proxy() -> AsyncIterator[Callable[[int], Awaitable[Proxy]]]:
    """Begins a proxy to a port; all end with the test."""
    opened: list[Proxy] = []

    async def make(port: int) -> Proxy:
        opened.append(Proxy(port))
        await opened[-1].start()
        return opened[-1]

    yield make
    for proxy in opened:
        await proxy.cut()
