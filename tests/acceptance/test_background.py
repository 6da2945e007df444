"""Runs in the background: start, list, join, several at once; with the Python SDK."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fix_gate import Gate
from fix_server import Server
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, api_key=None) as client:
        yield client


@pytest.fixture
async def thread_id(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def test_a_background_run_is_pending_when_admitted_and_joined_for_its_values(
    client: LangGraphClient, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "echo", input={"x": 1})
    assert run["status"] == "pending"
    joined = await client.runs.join(thread_id, run["run_id"])
    assert joined == (await client.threads.get(thread_id))["values"]
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "success"


async def test_a_run_that_failed_is_joined_with_its_error(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "boom", input={"how": "plain"})
    joined = await client.runs.join(thread_id, run["run_id"])
    assert joined["__error__"]["error"] == "ValueError"


async def test_a_stream_joined_later_replays_a_background_run(
    client: LangGraphClient, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "echo", input={"x": 1}, stream_mode=["values", "updates"])
    await client.runs.join(thread_id, run["run_id"])
    events = [
        part.event async for part in client.runs.join_stream(thread_id, run["run_id"], last_event_id="-1")
    ]
    assert events[0] == "metadata"
    assert "updates" in events


async def test_the_runs_of_a_thread_are_listed_newest_first(client: LangGraphClient, thread_id: str) -> None:
    runs = [await client.runs.create(thread_id, "echo", input={"x": number}) for number in range(3)]
    ids = [run["run_id"] for run in reversed(runs)]
    assert [run["run_id"] for run in await client.runs.list(thread_id)] == ids
    assert [run["run_id"] for run in await client.runs.list(thread_id, limit=1, offset=1)] == ids[1:2]
    listed = await client.runs.list(thread_id, select=["run_id", "status"])
    assert all(set(run) == {"run_id", "status"} for run in listed)


async def test_a_list_can_be_limited_to_a_status(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "echo", input={"x": 1})
    await client.runs.join(thread_id, run["run_id"])
    assert len(await client.runs.list(thread_id, status="success")) == 1
    assert await client.runs.list(thread_id, status="error") == []


@pytest.mark.parametrize("query", ["limit=-1", "limit=x", "limit=1001", "status=none", "select=nothing"])
def test_a_list_refuses_what_it_does_not_know(server: Server, query: str) -> None:
    response = server.request("GET", f"/threads/{server.new_thread()}/runs?{query}")
    assert response.status == 422
    assert query.partition("=")[0] in response.json()["detail"]


async def test_runs_wait_for_each_other_on_a_thread(
    client: LangGraphClient, thread_id: str, gate: Gate
) -> None:
    first = gate.input()
    await client.runs.create(thread_id, "gate", input=first)
    node = await asyncio.to_thread(gate.node, first)
    second = await client.runs.create(thread_id, "echo", input={"x": 2})
    assert (await client.runs.get(thread_id, second["run_id"]))["status"] == "pending"
    node.finish()
    await client.runs.join(thread_id, second["run_id"])
    assert {run["status"] for run in await client.runs.list(thread_id)} == {"success"}


async def test_a_batch_starts_all_its_runs_in_order(client: LangGraphClient) -> None:
    payloads = [{"assistant_id": "echo", "input": {"x": number}} for number in range(5)]
    runs = await client.runs.create_batch(payloads)
    assert [run["kwargs"]["input"]["x"] for run in runs] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("wrong", ["nope", "00000000-0000-0000-0000-000000000000"])
def test_a_batch_with_one_wrong_item_starts_nothing(server: Server, wrong: str, gate: Gate) -> None:
    graph_input = gate.input()
    batch = [{"assistant_id": "gate", "input": graph_input}, {"assistant_id": wrong}]
    response = server.request("POST", "/runs/batch", batch)
    assert response.status in (404, 422)
    assert server.wait(
        "echo", {"x": 1}, thread=None
    )  # a run started after it has ended: nothing is on its way
    assert not gate.started(graph_input)


@pytest.mark.parametrize("body", [[], {}, [{"assistant_id": "echo"}] * 101, [1]])
def test_a_batch_must_be_a_list_of_one_to_a_hundred(server: Server, body: object) -> None:
    assert server.request("POST", "/runs/batch", body).status == 422


async def test_named_runs_are_cancelled_together(client: LangGraphClient, thread_id: str, gate: Gate) -> None:
    first = gate.input()
    runs = [await client.runs.create(thread_id, "gate", input=item) for item in (first, gate.input())]
    await asyncio.to_thread(gate.node, first)
    await client.runs.cancel_many(thread_id=thread_id, run_ids=[run["run_id"] for run in runs])
    await asyncio.gather(*(client.runs.join(thread_id, run["run_id"]) for run in runs))
    assert {run["status"] for run in await client.runs.list(thread_id)} == {"interrupted"}
    assert (await client.threads.get(thread_id))["status"] != "busy"


async def test_cancelling_nothing_is_an_error(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "echo", input={"x": 1})
    await client.runs.join(thread_id, run["run_id"])
    with pytest.raises(NotFoundError):
        await client.runs.cancel_many(thread_id=thread_id, run_ids=[run["run_id"]])


@pytest.mark.parametrize(
    "body", [{}, {"status": "done"}, {"run_ids": []}, {"status": "all", "run_ids": ["x"]}]
)
def test_what_to_cancel_must_be_said_one_way(server: Server, body: object) -> None:
    assert server.request("POST", "/runs/cancel", body).status == 422


async def test_a_stateless_background_run_takes_its_thread_along(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "echo", input={"x": 1})
    await client.runs.join(run["thread_id"], run["run_id"])
    with pytest.raises(NotFoundError):
        await client.threads.get(run["thread_id"])


@pytest.mark.parametrize(
    ("run_id", "status"), [("00000000-0000-0000-0000-000000000000", 404), ("nothing", 422)]
)
def test_joining_an_unknown_run_is_refused(server: Server, run_id: str, status: int) -> None:
    assert server.request("GET", f"/threads/{server.new_thread()}/runs/{run_id}/join").status == status


def test_a_batch_cannot_answer_an_interrupt_without_a_thread(server: Server) -> None:
    batch = [{"assistant_id": "intr", "command": {"resume": "yes"}}]
    assert server.request("POST", "/runs/batch", batch).status == 400
