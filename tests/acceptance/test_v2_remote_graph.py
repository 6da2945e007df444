"""`RemoteGraph` with `version="v3"`, which speaks protocol v2."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from fix_gate import Gate
from fix_server import Server
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command

SECONDS = 20.0


def on(thread_id: str | None = None) -> Any:
    return {"configurable": {"thread_id": thread_id or str(uuid4())}}


def remote(server: Server, graph: str) -> RemoteGraph:
    return RemoteGraph(graph, url=server.url, api_key=None)


async def test_it_streams_values_and_has_an_output(server: Server) -> None:
    run = await remote(server, "tools").astream_events(
        {"messages": [{"role": "user", "content": "hi"}]}, on(), version="v3"
    )
    async with asyncio.timeout(SECONDS), run:
        seen = [values async for values in run.values]
        output = await run.output()
    assert output["messages"][-1]["content"] == "Done: ok"
    assert len(seen[-1]["messages"]) == 4


async def test_an_interrupt_is_answered_by_a_command(server: Server) -> None:
    config, graph = on(), remote(server, "intr")
    async with asyncio.timeout(SECONDS):
        async with await graph.astream_events({"x": "1"}, config, version="v3") as run:
            assert [values.get("log") async for values in run.values][-1] == ["start:st"]
            assert await run.interrupted()
            assert [item["value"]["question"] for item in await run.interrupts()] == ["ok?"]
        async with await graph.astream_events(Command(resume="yes"), config, version="v3") as run:
            assert (await run.output())["log"] == ["start:st", "ask:yes", "finish"]


async def test_an_error_is_raised(server: Server) -> None:
    run = await remote(server, "boom").astream_events({}, on(), version="v3")
    async with asyncio.timeout(SECONDS), run:
        with pytest.raises(RuntimeError, match="model exploded"):
            await run.output()


async def test_a_run_is_aborted(server: Server, gate: Gate) -> None:
    held, thread_id = gate.input(), str(uuid4())
    run = await remote(server, "gate").astream_events(held, on(thread_id), version="v3")
    async with asyncio.timeout(SECONDS), run:
        node = await asyncio.to_thread(gate.node, held)
        await run.abort()
        assert await asyncio.to_thread(node.hear) == "cancelled"
    [stopped] = server.get(f"/threads/{thread_id}/runs")
    assert stopped["status"] == "interrupted"


async def test_messages_and_calls_of_tools_come_apart(server: Server) -> None:
    graph, config = remote(server, "tools"), on()
    async with asyncio.timeout(SECONDS):
        for turn in (1, 2):
            question = {"messages": [{"role": "user", "content": f"turn {turn}"}]}
            async with await graph.astream_events(question, config, version="v3") as run:
                reading = [asyncio.create_task(text_of(message)) async for message in run.messages]
                assert [await text for text in reading][-1] == "Done: ok"
            async with await graph.astream_events(question, on(), version="v3") as run:
                [call] = [call async for call in run.tool_calls]
                assert (call.name, call.input) == ("research", {"q": "ice"})
        state = await graph.aget_state(config)
    said = [message["content"] for message in state.values["messages"] if message["type"] == "human"]
    assert said == ["turn 1", "turn 2"]


async def test_models_that_speak_at_once_are_kept_apart(server: Server) -> None:
    async with asyncio.timeout(SECONDS):
        async with await remote(server, "duet").astream_events({"messages": []}, on(), version="v3") as run:
            reading = [asyncio.create_task(text_of(message)) async for message in run.messages]
            texts = [await text for text in reading]
    assert sorted(texts) == ["all at once", "l1l2l3l4", "r1r2r3r4", "same words", "same words"]


async def test_subgraphs_are_discovered(server: Server) -> None:
    async with asyncio.timeout(SECONDS):
        async with await remote(server, "subg").astream_events({"topic": "ice"}, on(), version="v3") as run:
            [child] = [handle async for handle in run.subgraphs]
            assert (child.graph_name, child.status) == ("child", "completed")


async def text_of(message: Any) -> str:
    return "".join([piece async for piece in message.text])


def test_the_synchronous_form_streams_too(server: Server) -> None:
    with remote(server, "subg").stream_events({"topic": "ice"}, on(), version="v3") as run:
        assert run.output["text"] == "sub tok"
