"""Protocol v2 as users of the Python SDK meet it: `client.threads.stream`, over SSE and WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from fix_gate import Gate
from fix_server import Server
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

SECONDS = 20.0
TRANSPORTS = ("sse", "websocket")


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, api_key=None) as client:
        yield client


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def soon(waiting: Any) -> Any:
    async with asyncio.timeout(SECONDS):
        return await waiting


async def spoken(thread: Any) -> list[str]:
    """The texts of all messages of a run. Each is gathered beside the others: the SDK blocks else."""
    readers = [asyncio.ensure_future(_text(message)) async for message in thread.messages]
    return [await reader for reader in readers]


async def _text(message: Any) -> str:
    return "".join([piece async for piece in message.text])


async def test_chat(client: LangGraphClient, transport: str) -> None:
    async with client.threads.stream(assistant_id="chat", transport=transport) as thread:
        await thread.run.start(input={"messages": [{"role": "user", "content": "hi"}]})
        texts = await soon(spoken(thread))
        output = await soon(thread.output)
    assert texts == ["Hello you", "canned reply"]
    assert [message["content"] for message in output["messages"]] == ["hi", *texts, "dict reply"]


async def test_two_turns_on_one_thread(client: LangGraphClient, transport: str) -> None:
    thread_id = str(uuid4())
    for turn in (1, 2):
        async with client.threads.stream(thread_id, assistant_id="chat", transport=transport) as thread:
            await thread.run.start(input={"messages": [{"role": "user", "content": f"turn {turn}"}]})
            await soon(spoken(thread))
    state = await client.threads.get_state(thread_id)
    assert [message["content"] for message in state["values"]["messages"] if message["type"] == "human"] == [
        "turn 1",
        "turn 2",
    ]


async def test_a_tool_is_called(client: LangGraphClient, transport: str) -> None:
    async with client.threads.stream(assistant_id="tools", transport=transport) as thread:
        await thread.run.start(input={"messages": [{"role": "user", "content": "hi"}]})
        async with asyncio.timeout(SECONDS):
            calls = [call async for call in thread.tool_calls]
        [call] = calls
        assert (call.name, call.tool_call_id, call.input) == ("research", "call_1", {"q": "ice"})
        assert (await call.output)["content"] == "inner answer"


async def test_an_interrupt_is_answered(client: LangGraphClient, transport: str) -> None:
    async with client.threads.stream(assistant_id="intr", transport=transport) as thread:
        await thread.run.start(input={"x": "1"})
        async with asyncio.timeout(SECONDS):
            seen = [values async for values in thread.values]
        assert seen[-1]["log"] == ["start:st"]
        [question] = thread.interrupts
        assert question["value"] == {"question": "ok?", "x": "1"}
        await thread.run.respond("yes")
        assert (await soon(thread.output))["log"] == ["start:st", "ask:yes", "finish"]


async def test_an_error_reaches_the_reader(client: LangGraphClient, transport: str) -> None:
    async with client.threads.stream(assistant_id="boom", transport=transport) as thread:
        await thread.run.start(input={})
        with pytest.raises(RuntimeError, match="model exploded"):
            await soon(thread.output)


async def test_messages_of_a_run_that_fails_are_closed(client: LangGraphClient) -> None:
    async with client.threads.stream(assistant_id="boom") as thread:
        await thread.run.start(input={})
        found = []
        async with asyncio.timeout(SECONDS):
            async for message in thread.messages:
                found.append(asyncio.ensure_future(_text(message)))
        texts = await soon(asyncio.gather(*found, return_exceptions=True))
    # The SDK fails whatever it has not yet handed out when it hears of the end, also a message that is whole.
    assert str(texts[0]) == "fine so far" or "model exploded" in str(texts[0])
    assert isinstance(texts[1], RuntimeError)


async def test_a_subgraph_is_discovered(client: LangGraphClient, transport: str) -> None:
    async with client.threads.stream(assistant_id="subg", transport=transport) as thread:
        await thread.run.start(input={"topic": "ice"})
        async with asyncio.timeout(SECONDS):
            found = [handle async for handle in thread.subgraphs]
            [child] = found
            assert child.graph_name == "child"
            assert child.status == "completed"
            assert await spoken(child) == ["sub tok"]


async def test_models_that_speak_at_once_are_kept_apart(client: LangGraphClient, transport: str) -> None:
    async with client.threads.stream(assistant_id="duet", transport=transport) as thread:
        await thread.run.start(input={"messages": []})
        texts = await soon(spoken(thread))
    assert sorted(texts) == ["all at once", "l1l2l3l4", "r1r2r3r4", "same words", "same words"]


async def test_a_run_is_stopped(client: LangGraphClient, gate: Gate, transport: str) -> None:
    held = gate.input()
    async with client.threads.stream(assistant_id="gate", transport=transport) as thread:
        events = thread.subscribe(["lifecycle", "messages"])
        run = await thread.run.start(input=held)
        node = await asyncio.to_thread(gate.node, held)
        node.say("half")
        seen = []
        async with asyncio.timeout(SECONDS):
            async for event in events:
                seen.append(event["params"]["data"]["event"])
                if seen[-1] == "content-block-delta":
                    await client.runs.cancel(thread.thread_id, run["run_id"])
                if seen[-1] == "interrupted":
                    break
    assert seen[0] == "running"
    assert seen[-3:] == ["content-block-finish", "message-finish", "interrupted"]


async def test_custom_events_have_a_channel(client: LangGraphClient, transport: str) -> None:
    async with client.threads.stream(assistant_id="custom", transport=transport) as thread:
        events = thread.subscribe(["custom", "lifecycle"])
        await thread.run.start(input={})
        data = []
        async with asyncio.timeout(SECONDS):
            async for event in events:
                if event["method"] == "custom":
                    data.append(event["params"]["data"])
                elif event["params"]["data"]["event"] == "completed":
                    break
    assert data == [{"progress": 0.5, "text": "line1\nline2"}, "plain string", [1, None, True], 7]


async def test_who_comes_in_mid_run_hears_every_word(
    client: LangGraphClient, gate: Gate, transport: str
) -> None:
    held = gate.input()
    async with client.threads.stream(assistant_id="gate", transport=transport) as thread:
        await thread.run.start(input=held)
        node = await asyncio.to_thread(gate.node, held)
        node.say("one ")
        async with client.threads.stream(thread.thread_id, assistant_id="gate", transport=transport) as later:
            speaking = asyncio.create_task(spoken(later))
            node.say("two")
            node.finish()
            assert await soon(speaking) == ["one two"]
