"""The stream of a thread, as users of the official Python SDKs follow it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fix_engine import Engine
from fix_gate import Gate
from fix_server import Server, start, stop
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import StreamPart


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, api_key=None) as client:
        yield client


def is_done(part: StreamPart) -> bool:
    return part.event == "metadata" and part.data.get("status") == "run_done"


async def until_done(parts: AsyncIterator[StreamPart], runs: int = 1) -> list[StreamPart]:
    found: list[StreamPart] = []
    while sum(map(is_done, found)) < runs:
        found.append(await anext(parts))
    return found


def outcomes(parts: list[StreamPart]) -> list[tuple[str, str]]:
    return [(part.data["run_id"], part.data["outcome"]) for part in parts if is_done(part)]


async def test_a_reader_follows_run_after_run(client: LangGraphClient, gate: Gate) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "joke", input={"topic": "early"})
    parts = await client.threads.join_stream(thread_id, last_event_id="-")
    await until_done(parts)
    good = await client.runs.create(thread_id, "joke", input={"topic": "a"})
    bad = await client.runs.create(thread_id, "boom", input={"how": "first"})
    held = gate.input()
    cancelled = await client.runs.create(thread_id, "gate", input=held)
    await asyncio.to_thread(gate.node, held)
    await client.runs.cancel(thread_id, cancelled["run_id"], wait=True)
    runs = [good["run_id"], bad["run_id"], cancelled["run_id"]]
    seen = await until_done(parts, 3)
    assert outcomes(seen) == list(zip(runs, ["success", "error", "interrupted"], strict=True))
    await parts.aclose()


@pytest.mark.parametrize("modes", ["lifecycle", ["lifecycle", "state_update"]])
async def test_a_reader_chooses_modes(client: LangGraphClient, modes: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "joke", input={"topic": "early"})
    parts = await client.threads.join_stream(thread_id, last_event_id="-", stream_mode=modes)
    assert [part.event for part in await until_done(parts)] == ["metadata", "metadata"]
    await client.threads.update_state(thread_id, {"joke": "mine"})
    await client.runs.wait(thread_id, "joke", input={"topic": "b"})
    changed = ["state_update"] if isinstance(modes, list) else []
    assert [part.event for part in await until_done(parts)] == [*changed, "metadata", "metadata"]
    await parts.aclose()


async def test_a_reader_goes_on_after_its_last_event(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    for topic in ("a", "b", "c"):
        await client.runs.wait(thread_id, "joke", input={"topic": topic})
    everything = await client.threads.join_stream(thread_id, last_event_id="-")
    parts = await until_done(everything, 3)
    again = await client.threads.join_stream(thread_id, last_event_id=parts[4].id)
    assert await until_done(again, 2) == parts[5:]
    await everything.aclose()
    await again.aclose()


async def test_the_stream_ends_when_the_thread_is_deleted(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "joke", input={"topic": "early"})
    parts = await client.threads.join_stream(thread_id, last_event_id="-")
    await until_done(parts)
    await client.threads.delete(thread_id)
    assert [part async for part in parts] == []


def test_the_sync_client_follows_run_after_run(server: Server) -> None:
    client = get_sync_client(url=server.url, api_key=None)
    thread_id = client.threads.create()["thread_id"]
    client.runs.wait(thread_id, "joke", input={"topic": "early"})
    parts = client.threads.join_stream(thread_id, last_event_id="-")
    for topic in ("a", "b"):
        assert outcomes(list(_until_done(parts)))[0][1] == "success"
        client.runs.wait(thread_id, "joke", input={"topic": topic})
    assert outcomes(list(_until_done(parts)))[0][1] == "success"
    client.threads.delete(thread_id)
    assert list(parts) == []


def _until_done(parts: Iterator[StreamPart]) -> Iterator[StreamPart]:
    for part in parts:
        yield part
        if is_done(part):
            return


async def test_a_reader_stays_while_the_server_is_replaced(tmp_path: Path, engine: Engine) -> None:
    server = start(tmp_path, engine=engine)
    try:
        async with get_client(url=server.url, api_key=None) as client:
            thread_id = (await client.threads.create())["thread_id"]
            await client.runs.wait(thread_id, "joke", input={"topic": "a"})
            parts = await client.threads.join_stream(thread_id, last_event_id="-")
            await until_done(parts)
            reading = asyncio.ensure_future(until_done(parts))
            await asyncio.to_thread(stop, server)
            server = await asyncio.to_thread(start, tmp_path, port=server.port, engine=engine)
            run = await client.runs.create(thread_id, "joke", input={"topic": "b"})
            assert outcomes(await reading) == [(run["run_id"], "success")]
            await parts.aclose()
    finally:
        stop(server)
