"""The mission, as a user of the Python SDK meets it."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fix_gate import Gate
from fix_openai import Conversation
from fix_server import Server
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

WORDS = ["Why", " did", " the", " ice", " melt?"]


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, api_key=None) as client:
        yield client


@pytest.fixture
def sync_client(server: Server) -> SyncLangGraphClient:
    return get_sync_client(url=server.url, api_key=None)


async def test_words_appear_one_by_one_while_the_model_is_still_speaking(
    client: LangGraphClient, topic: str, model: Conversation
) -> None:
    thread = await client.threads.create()
    words = iter(WORDS)
    seen = []
    model.say(next(words))
    async for chunk in client.runs.stream(
        thread["thread_id"], "agent", input={"topic": topic}, stream_mode="messages-tuple"
    ):
        if chunk.event != "messages":
            continue
        message_chunk, metadata = chunk.data
        if message_chunk["content"]:
            seen.append(message_chunk["content"])
            assert metadata["langgraph_node"] == "call_model"
            # only now, with the word in hand, the model says the next one
            next_word = next(words, None)
            model.say(next_word) if next_word else model.finish()
    assert seen == WORDS


def test_the_sync_client_sees_words_while_the_model_is_still_speaking(
    sync_client: SyncLangGraphClient, topic: str, model: Conversation
) -> None:
    thread = sync_client.threads.create()
    words = iter(WORDS)
    seen = []
    model.say(next(words))
    for chunk in sync_client.runs.stream(
        thread["thread_id"], "agent", input={"topic": topic}, stream_mode="messages-tuple"
    ):
        if chunk.event == "messages" and chunk.data[0]["content"]:
            seen.append(chunk.data[0]["content"])
            next_word = next(words, None)
            model.say(next_word) if next_word else model.finish()
    assert seen == WORDS


async def test_the_joke_is_in_the_thread_when_the_stream_has_ended(
    client: LangGraphClient, topic: str, model: Conversation
) -> None:
    thread = await client.threads.create()
    model.say("Ha!")
    model.finish()
    async for _ in client.runs.stream(thread["thread_id"], "agent", input={"topic": topic}):
        pass
    state = await client.threads.get_state(thread["thread_id"])
    assert state["values"] == {"topic": topic, "joke": "Ha!"}


async def test_a_run_without_a_thread_streams_too(
    client: LangGraphClient, topic: str, model: Conversation
) -> None:
    for word in WORDS:
        model.say(word)
    model.finish()
    parts = client.runs.stream(None, "agent", input={"topic": topic}, stream_mode="messages-tuple")
    assert [
        part.data[0]["content"] async for part in parts if part.event == "messages" if part.data[0]["content"]
    ] == WORDS


async def test_on_run_created_tells_run_and_thread_before_the_first_token(
    client: LangGraphClient, gate: Gate
) -> None:
    thread = await client.threads.create()
    created: list[Any] = []
    graph_input = gate.input()
    parts = client.runs.stream(
        thread["thread_id"],
        "gate",
        input=graph_input,
        stream_mode="messages-tuple",
        on_run_created=created.append,
    )
    metadata = await anext(parts)
    assert created == [{"run_id": metadata.data["run_id"], "thread_id": thread["thread_id"]}]
    await parts.aclose()


async def test_wait_gives_the_final_state(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    assert await client.runs.wait(thread["thread_id"], "joke", input={"topic": "ice"}) == {
        "topic": "ice",
        "joke": "Why ice? Ha!",
    }


async def test_wait_without_a_thread_gives_the_final_state(client: LangGraphClient) -> None:
    assert (await client.runs.wait(None, "joke", input={"topic": "ice"}))["joke"] == "Why ice? Ha!"


async def test_wait_raises_when_the_run_fails(client: LangGraphClient) -> None:
    with pytest.raises(Exception, match="ValueError: first node failed"):
        await client.runs.wait(None, "boom", input={"how": "first"})


async def test_an_interrupted_run_goes_on_with_the_answer(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    asked = await client.runs.wait(thread_id, "intr", input={"x": "1"})
    assert asked["__interrupt__"][0]["value"] == {"question": "ok?", "x": "1"}
    done = await client.runs.wait(thread_id, "intr", command={"resume": "yes"})
    assert done["log"] == ["start:st", "ask:yes", "finish"]


async def test_a_reader_that_joins_with_its_last_id_gets_the_rest_and_nothing_twice(
    client: LangGraphClient, gate: Gate
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    graph_input = gate.input()
    parts = client.runs.stream(thread_id, "gate", input=graph_input, stream_mode="messages-tuple")
    run_id = (await anext(parts)).data["run_id"]
    node = await asyncio.to_thread(gate.node, graph_input)
    node.say("one ")
    first = await anext(parts)
    await parts.aclose()
    for word in ("two ", "three"):
        node.say(word)
    node.finish()
    rest = [part async for part in client.runs.join_stream(thread_id, run_id, last_event_id=first.id)]
    tokens = [part.data[0]["content"] for part in [first, *rest] if part.event == "messages"]
    assert [token for token in tokens if token] == ["one ", "two ", "three"]


async def test_a_second_reader_joins_from_the_start(client: LangGraphClient, gate: Gate) -> None:
    thread_id, graph_input = (await client.threads.create())["thread_id"], gate.input()
    first = client.runs.stream(thread_id, "gate", input=graph_input, stream_mode="messages-tuple")
    run_id = (await anext(first)).data["run_id"]
    node = await asyncio.to_thread(gate.node, graph_input)
    node.say("early ")
    await anext(first)
    second = client.runs.join_stream(thread_id, run_id, last_event_id="-1")
    assert [(await anext(second)).event for _ in range(2)] == ["metadata", "messages"]
    node.say("late")
    assert (await anext(second)).data[0]["content"] == "late"
    node.finish()
    assert [part.data[0]["content"] async for part in second] == [""]  # the chunk that ends the message


async def test_a_finished_run_can_be_looked_up(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    parts = [part async for part in client.runs.stream(thread_id, "joke", input={"topic": "ice"})]
    run = await client.runs.get(thread_id, parts[0].data["run_id"])
    assert (run["status"], run["thread_id"]) == ("success", thread_id)


async def test_cancel_stops_the_node_and_the_run_is_interrupted(client: LangGraphClient, gate: Gate) -> None:
    thread_id, graph_input = (await client.threads.create())["thread_id"], gate.input()
    parts = client.runs.stream(thread_id, "gate", input=graph_input)
    run_id = (await anext(parts)).data["run_id"]
    node = await asyncio.to_thread(gate.node, graph_input)
    await client.runs.cancel(thread_id, run_id, wait=True)
    assert await asyncio.to_thread(node.hear) == "cancelled"
    assert (await client.runs.get(thread_id, run_id))["status"] == "interrupted"


async def test_an_unknown_thread_raises_not_found(client: LangGraphClient) -> None:
    with pytest.raises(NotFoundError, match="not found"):
        await anext(client.runs.stream("00000000-0000-0000-0000-000000000001", "joke", input={"topic": "x"}))


async def test_an_unknown_graph_raises_unprocessable(client: LangGraphClient) -> None:
    with pytest.raises(UnprocessableEntityError, match="nope"):
        await anext(client.runs.stream(None, "nope", input={}))


async def test_a_busy_thread_with_reject_raises_conflict(client: LangGraphClient, gate: Gate) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await anext(client.runs.stream(thread_id, "gate", input=gate.input()))
    with pytest.raises(ConflictError):
        await anext(client.runs.stream(thread_id, "joke", input={"topic": "x"}, multitask_strategy="reject"))


async def test_an_error_is_the_last_event_of_the_stream(client: LangGraphClient) -> None:
    parts = [part async for part in client.runs.stream(None, "boom", input={"how": "first"})]
    assert (parts[-1].event, parts[-1].data) == (
        "error",
        {"error": "ValueError", "message": "first node failed"},
    )


async def test_twenty_streams_at_once_get_their_own_tokens(client: LangGraphClient) -> None:
    async def tokens(name: str) -> str:
        texts = [f'"{name}{number} "' for number in range(10)]
        parts = client.runs.stream(
            None, "texts", input={"texts": texts, "pause": 0.001}, stream_mode="messages-tuple"
        )
        return "".join([part.data[0]["content"] async for part in parts if part.event == "messages"])

    names = [f"stream{number}-" for number in range(20)]
    got = await asyncio.gather(*map(tokens, names))
    assert got == ["".join(f"{name}{number} " for number in range(10)) for name in names]


async def test_ids_of_all_events_increase(client: LangGraphClient) -> None:
    parts = [part async for part in client.runs.stream(None, "tools", input={"messages": "hi"})]
    ids = [tuple(map(int, part.id.split("-"))) for part in parts]
    assert all(before < after for before, after in itertools.pairwise(ids))
