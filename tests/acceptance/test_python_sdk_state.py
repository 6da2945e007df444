"""The state of threads, as a user of the Python SDK reads and changes it."""

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fix_server import Server
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.errors import BadRequestError, NotFoundError


class Threads:
    """The threads of a client, synchronous or not."""

    def __init__(self, threads: Any) -> None:
        self._threads = threads

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            found = getattr(self._threads, name)(*args, **kwargs)
            return await found if inspect.isawaitable(found) else found

        return call


@pytest.fixture(params=["sync", "async"])
async def threads(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Threads]:
    if request.param == "sync":
        with get_sync_client(url=server.url, api_key=None) as client:
            yield Threads(client.threads)
    else:
        async with get_client(url=server.url, api_key=None) as asynchronous:
            yield Threads(asynchronous.threads)


@pytest.fixture
def thread(server: Server) -> str:
    """A thread that has run."""
    thread = server.new_thread()
    server.wait("echo", {"x": 1}, thread)
    return thread


async def test_the_state_is_read_in_every_form(threads: Threads, thread: str) -> None:
    latest = await threads.get_state(thread)
    assert latest["values"] == {"x": 1, "log": ["a", "b"]}
    at = latest["checkpoint"]
    for named in ({"checkpoint_id": at["checkpoint_id"]}, {"checkpoint": at}):
        assert await threads.get_state(thread, **named) == latest
        assert await threads.get_state(thread, **named, subgraphs=True) == latest
        selected = await threads.get_state(thread, **named, select=["values.x", "next"])
        assert selected == {"values": {"x": 1}, "next": []}
    assert await threads.get_state(thread, select=["values.x", "next"]) == selected


async def test_history_is_read_in_every_form(threads: Threads, thread: str) -> None:
    found = await threads.get_history(thread)
    assert [entry["next"] for entry in found] == [[], ["b"], ["a"], ["__start__"]]
    at = found[1]["checkpoint"]
    for before in (at["checkpoint_id"], at, {"configurable": at}):
        assert await threads.get_history(thread, before=before) == found[2:]
    assert await threads.get_history(thread, limit=2) == found[:2]
    assert await threads.get_history(thread, metadata={"source": "input"}) == found[3:]
    assert await threads.get_history(thread, checkpoint=at) == found[1:2]
    assert await threads.get_history(thread, limit=1, select=["next"]) == [{"next": []}]


async def test_the_state_is_updated_in_every_form(threads: Threads, thread: str) -> None:
    old = (await threads.get_history(thread))[1]
    written = await threads.update_state(thread, {"log": ["new"]}, as_node="b")
    assert (await threads.get_state(thread))["checkpoint"] == written["checkpoint"]
    for named in ({"checkpoint_id": old["checkpoint_id"]}, {"checkpoint": old["checkpoint"]}):
        await threads.update_state(thread, {"log": ["fork"]}, **named)
        assert (await threads.get_state(thread))["values"]["log"] == ["a", "fork"]
    await threads.update_state(thread, None, as_node="__end__")
    assert (await threads.get_state(thread))["next"] == []
    assert (await threads.get(thread))["status"] == "idle"


async def test_a_list_of_updates_is_for_graphs_that_take_one(threads: Threads, thread: str) -> None:
    with pytest.raises(BadRequestError, match="Expected dict"):
        await threads.update_state(thread, [{"x": 2}])


async def test_what_is_not_there_raises(threads: Threads, thread: str) -> None:
    with pytest.raises(NotFoundError):
        await threads.get_state(thread, checkpoint_id=thread)
    with pytest.raises(NotFoundError):
        await threads.update_state(thread, {"x": 2}, checkpoint_id=thread)
    with pytest.raises(NotFoundError):
        await threads.get_history("00000000-0000-0000-0000-000000000001")
