"""The transport of clients within the process: two loops, one request, nothing lost and nobody blocked."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpx
import pytest

from server.asker import UNKNOWN, asker
from server.loopback import PARTS_AHEAD, Loopback, LoopbackTransport

LONG = 10.0
PLAIN = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
LIVE = {"type": "http.response.start", "status": 200, "headers": []}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


class Home:
    """The server's thread, and what it saw."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.loopback = Loopback()
        self.lent: list[str] = []
        self.told: list[str] = []
        self.gone = threading.Event()

    @contextmanager
    def lend(self, run_id: str) -> Iterator[None]:
        self.lent.append(run_id)
        yield
        self.told.append("given back")

    def serve(self, app: Any) -> None:
        async def open_here() -> None:
            self.loopback.open(app, self.lend)

        self.run(open_here())

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LONG)

    def client(self, **more: Any) -> httpx.AsyncClient:
        transport = LoopbackTransport(self.loopback, "/noauth")
        return httpx.AsyncClient(transport=transport, base_url="http://api", **more)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(LONG)
        self.loop.close()


@pytest.fixture
def home() -> Iterator[Home]:
    made = Home()
    yield made
    if not made.loop.is_closed():
        made.stop()


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await send(PLAIN)
    await send(part(b"ok", more=False))


def until_left(home: Home) -> Callable[..., Any]:
    """An app that says one thing and then waits for its client to leave."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(LIVE)
        await send(part(b"hello"))
        assert (await receive())["type"] == "http.disconnect"
        home.gone.set()

    return app


async def left(home: Home) -> bool:
    return await asyncio.to_thread(home.gone.wait, LONG)


# ------------------------------------------------------------------------------------- requests


async def test_a_request_arrives_as_it_would_from_a_socket(home: Home) -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope, body=await receive())
        await plain(scope, receive, send)

    home.serve(app)
    async with home.client() as client:
        await client.post("/a%20b?c=d%26", content=b"body", headers={"X-Y": "z"})
    assert (seen["method"], seen["path"], seen["raw_path"]) == ("POST", "/a b", b"/a%20b")
    assert (seen["query_string"], seen["root_path"]) == (b"c=d%26", "/noauth")
    assert (b"x-y", b"z") in seen["headers"]
    assert seen["body"] == {"type": "http.request", "body": b"body", "more_body": False}


async def test_the_app_runs_on_its_own_loop_without_the_callers_context(home: Home) -> None:
    private: ContextVar[str] = ContextVar("private", default="")
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([asyncio.get_running_loop() is home.loop, private.get(), asker.get()])
        await plain(scope, receive, send)

    home.serve(app)
    private.set("the caller's")
    asker.set("run 1")
    async with home.client() as client:
        assert (await client.get("/")).text == "ok"
    assert seen == [True, "", "run 1"]


async def test_a_head_has_no_body(home: Home) -> None:
    home.serve(plain)
    async with home.client() as client:
        assert (await client.head("/")).content == b""


async def test_nobody_is_called_before_the_server_is_up(home: Home) -> None:
    async with home.client() as client:
        with pytest.raises(httpx.ConnectError, match="not up yet"):
            await client.get("/")


async def test_nobody_is_called_after_the_server_has_stopped(home: Home) -> None:
    home.serve(plain)
    home.stop()
    async with home.client() as client:
        with pytest.raises(httpx.ConnectError, match="stopped"):
            await client.get("/")


def test_one_client_serves_many_loops_at_once(home: Home) -> None:
    together = threading.Barrier(4)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(None, together.wait, LONG)
        await plain(scope, receive, send)

    async def ask() -> str:
        return (await client.get("/")).text

    home.serve(app)
    client, found = home.client(), []
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(ask()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert found == ["ok"] * 4


# ------------------------------------------------------------------------------------- answers


async def test_a_part_arrives_before_the_next_one_is_made(home: Home) -> None:
    seen = threading.Semaphore(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(LIVE)
        for number in range(3):
            await send(part(b"%d" % number))
            assert await asyncio.to_thread(seen.acquire, timeout=LONG)
        await send(part(b"", more=False))

    home.serve(app)
    found = []
    async with home.client() as client, client.stream("GET", "/") as response:
        async for piece in response.aiter_raw():
            found.append(piece)
            seen.release()
    assert b"".join(found) == b"012"


async def test_the_app_waits_for_a_reader_that_is_behind(home: Home) -> None:
    sent, total = 0, 10 * PARTS_AHEAD

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(LIVE)
        for number in range(total):
            await send(part(b"x", more=number + 1 < total))
            sent += 1

    home.serve(app)
    read = 0
    async with home.client() as client, client.stream("GET", "/") as response:
        async for piece in response.aiter_raw():
            assert sent <= read + PARTS_AHEAD + 1
            read += len(piece)
    assert (read, sent) == (total, total)


async def broken_off(scope: Any, receive: Any, send: Any) -> None:
    await send(LIVE)
    await send(part(b"half"))


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("a defect")


@pytest.mark.parametrize("app", [broken_off, failing])
async def test_an_answer_without_an_end_is_an_error(home: Home, app: Any) -> None:
    home.serve(app)
    async with home.client() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


async def test_an_answer_that_takes_too_long_is_an_error(home: Home) -> None:
    home.serve(until_left(home))
    async with home.client(timeout=httpx.Timeout(LONG, read=0.01)) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/")
    assert await left(home)


# ------------------------------------------------------------------------------------- leaving


async def test_the_app_learns_that_its_reader_closed(home: Home) -> None:
    home.serve(until_left(home))
    async with home.client() as client, client.stream("GET", "/"):
        pass
    assert await left(home)


async def test_the_app_learns_that_its_reader_was_cancelled(home: Home) -> None:
    home.serve(until_left(home))
    reading = asyncio.Event()

    async def read() -> None:
        async with home.client() as client, client.stream("GET", "/") as response:
            async for _ in response.aiter_raw():
                reading.set()

    task = asyncio.create_task(read())
    await reading.wait()
    task.cancel()
    assert await left(home)
    await asyncio.wait([task])
    assert task.cancelled()


async def test_the_app_learns_of_a_cancellation_before_it_answered(home: Home) -> None:
    asked = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        asked.set()
        await receive()
        home.gone.set()

    home.serve(app)
    client = home.client()
    task = asyncio.create_task(client.get("/"))
    await asyncio.to_thread(asked.wait, LONG)
    task.cancel()
    assert await left(home)


def test_the_app_learns_that_the_loop_of_its_reader_is_gone(home: Home) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(LIVE)
        closed.wait(LONG)
        for _ in range(3 * PARTS_AHEAD):  # none of them waits for room
            await send(part(b"x"))
        assert (await receive())["type"] == "http.disconnect"
        home.gone.set()

    home.serve(app)
    closed = threading.Event()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(home.client().send(httpx.Request("GET", "http://api/"), stream=True))
    loop.close()
    closed.set()
    assert home.gone.wait(LONG)


# ------------------------------------------------------------------------------------- slots


@pytest.mark.parametrize(("run_id", "lent"), [("run 1", ["run 1"]), ("", [UNKNOWN])])
async def test_a_run_lends_its_slot_while_an_answer_goes_on(home: Home, run_id: str, lent: list[str]) -> None:
    home.serve(until_left(home))
    asker.set(run_id)
    async with home.client() as client, client.stream("GET", "/"):
        assert home.lent == lent
        assert home.told == []
    assert await left(home)
    home.run(asyncio.sleep(0))
    assert home.told == ["given back"]


async def test_nothing_is_lent_for_an_answer_that_comes_whole(home: Home) -> None:
    home.serve(plain)
    asker.set("run 1")
    async with home.client() as client:
        await client.get("/")
    assert home.lent == []


def test_nothing_is_lent_to_a_handler_of_the_server(home: Home) -> None:
    """It acts for somebody outside, and holds no slot."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(asker.get())
        await send(LIVE)
        await send(part(b"ok", more=False))

    async def ask() -> str:
        async with home.client() as client:
            return (await client.get("/")).text

    home.serve(app)
    assert home.run(ask()) == "ok"
    assert (home.lent, seen) == ([], [""])
