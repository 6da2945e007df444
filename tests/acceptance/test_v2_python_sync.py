"""Protocol v2 as users of the synchronous Python SDK meet it, over SSE and WebSocket."""

from typing import Any
from uuid import uuid4

import pytest
from fix_gate import Gate
from fix_server import Server
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

HI = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def client(server: Server) -> SyncLangGraphClient:
    return get_sync_client(url=server.url, api_key=None)


@pytest.fixture(params=["sse", "websocket"])
def transport(request: pytest.FixtureRequest) -> Any:
    return request.param


def spoken(thread: Any) -> list[str]:
    return ["".join(message.text) for message in thread.messages]


def test_two_turns_with_tools(client: SyncLangGraphClient, transport: Any) -> None:
    thread_id = str(uuid4())
    for _ in range(2):
        with client.threads.stream(thread_id, assistant_id="tools", transport=transport) as thread:
            thread.run.start(input=HI)
            assert "Done: ok" in spoken(thread)
            assert thread.output["messages"][-1]["content"] == "Done: ok"
    with client.threads.stream(assistant_id="tools", transport=transport) as thread:
        thread.run.start(input=HI)
        [call] = thread.tool_calls
        assert (call.name, call.input, call.output["content"]) == ("research", {"q": "ice"}, "inner answer")
    assert len(client.threads.get_state(thread_id)["values"]["messages"]) == 8  # type: ignore[call-overload]


def test_an_interrupt_is_answered(client: SyncLangGraphClient, transport: Any) -> None:
    with client.threads.stream(assistant_id="intr", transport=transport) as thread:
        thread.run.start(input={"x": "1"})
        list(thread.values)
        assert [question["value"]["question"] for question in thread.interrupts] == ["ok?"]
        thread.run.respond("yes")
        assert thread.output["log"] == ["start:st", "ask:yes", "finish"]


def test_an_error_reaches_the_reader(client: SyncLangGraphClient, transport: Any) -> None:
    with client.threads.stream(assistant_id="boom", transport=transport) as thread:
        thread.run.start(input={})
        with pytest.raises(RuntimeError, match="model exploded"):
            thread.output  # noqa: B018


def test_a_subgraph_is_discovered(client: SyncLangGraphClient, transport: Any) -> None:
    with client.threads.stream(assistant_id="subg", transport=transport) as thread:
        thread.run.start(input={"topic": "ice"})
        [child] = list(thread.subgraphs)
        said = list(child.messages)  # first: of a subgraph the SDK reads on only for the next message
        texts = ["".join(message.text) for message in said]
        assert (child.graph_name, child.status, texts) == ("child", "completed", ["sub tok"])


def test_models_that_speak_at_once_are_kept_apart(client: SyncLangGraphClient, transport: Any) -> None:
    with client.threads.stream(assistant_id="duet", transport=transport) as thread:
        thread.run.start(input={"messages": []})
        texts = spoken(thread)
    assert sorted(texts) == ["all at once", "l1l2l3l4", "r1r2r3r4", "same words", "same words"]


def test_a_run_is_stopped(client: SyncLangGraphClient, gate: Gate, transport: Any) -> None:
    held, seen = gate.input(), []
    with client.threads.stream(assistant_id="gate", transport=transport) as thread:
        events = thread.subscribe(["lifecycle", "messages"])
        run = thread.run.start(input=held)
        gate.node(held).say("half")
        for event in events:
            seen.append(event["params"]["data"]["event"])  # type: ignore[typeddict-item]
            if seen[-1] == "content-block-delta":
                client.runs.cancel(thread.thread_id, run["run_id"])
            if seen[-1] == "interrupted":
                break
    assert seen[-3:] == ["content-block-finish", "message-finish", "interrupted"]
