"""How a run ended is told to everybody: who streams it, waits for it or joins it, and who looks later."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fix_engine import EMBEDDED, Engine
from fix_gate import Gate, Node
from fix_server import RunningServer, Server, run_of, start, stop
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient

CANCELLED = "interrupt requested via POST /threads/{thread}/runs/{run}/cancel"


class Watched:
    """A run that a test holds, with a client that streams it and others that wait for it."""

    def __init__(self, server: Server, gate: Gate, thread: str | None = None, **fields: Any) -> None:
        self.server, self.thread = server, thread or server.new_thread()
        self.input = gate.input()
        self.stream = server.stream("gate", self.input, self.thread, stream_mode="values", **fields)
        self.path = run_of(self.stream)
        self.run = self.path.rsplit("/", 1)[1]
        self.joined = server.request("GET", f"{self.path}/join")
        self.reader = server.join(f"{self.path}/stream", "-1")

    def reason(self) -> str:
        return CANCELLED.format(thread=self.thread, run=self.run)

    def cancel(self, query: str = "") -> None:
        self.server.post(f"{self.path}/cancel?wait=1{query}")

    def told(self) -> dict[str, Any]:
        """What everybody who is there is told; it must be the same."""
        streamed, read = self.stream.rest(), self.reader.rest()
        joined = self.joined.json()
        assert (self.stream.ended_by, self.reader.ended_by) == ("last chunk", "last chunk")
        assert streamed[-1].event == read[-1].event == "metadata"
        assert streamed[-1].data == read[-1].data == joined["__run__"]
        return dict(joined["__run__"])

    def row(self) -> dict[str, Any]:
        return dict(self.server.get(self.path))


def done(run: str, outcome: str, reason: str) -> dict[str, str]:
    return {"status": "run_done", "run_id": run, "outcome": outcome, "reason": reason}


@pytest.fixture
def queued(server: Server, gate: Gate) -> Iterator[Callable[..., Watched]]:
    """A run that waits behind another one of its thread."""
    nodes: list[Node] = []

    def make(**fields: Any) -> Watched:
        first = gate.input()
        thread = server.new_thread()
        server.post(f"/threads/{thread}/runs", {"assistant_id": "gate", "input": first})
        nodes.append(gate.node(first))
        return Watched(server, gate, thread, **fields)

    yield make
    for node in nodes:
        node.finish()


# ---------------------------------------------------------------- runs that somebody stopped
def test_a_cancelled_run_is_told_as_interrupted(server: Server, gate: Gate) -> None:
    run = Watched(server, gate)
    gate.node(run.input)
    run.cancel()
    assert run.told() == done(run.run, "interrupted", run.reason())
    row = run.row()
    assert (row["status"], row["reason"]) == ("interrupted", run.reason())
    assert row["error"] == {"error": "UserInterrupt", "message": run.reason()}


def test_beside_the_outcome_of_a_cancelled_run_are_the_values_as_they_are(server: Server, gate: Gate) -> None:
    run = Watched(server, gate)
    gate.node(run.input)
    run.cancel()
    joined = run.joined.json()
    assert joined.pop("__run__")["outcome"] == "interrupted"
    assert joined == run.input == server.get(f"/threads/{run.thread}")["values"]


def test_a_run_that_is_rolled_back_is_told_as_such_and_is_gone(server: Server, gate: Gate) -> None:
    run = Watched(server, gate)
    gate.node(run.input)
    run.cancel("&action=rollback")
    assert run.told() == done(run.run, "rolled_back", run.reason())
    assert server.request("GET", run.path).status == 404


@pytest.mark.parametrize(("strategy", "outcome"), [("interrupt", "interrupted"), ("rollback", "rolled_back")])
@pytest.mark.parametrize("waits", [False, True], ids=["running", "waiting"])
def test_a_superseded_run_names_the_one_that_came(
    server: Server, gate: Gate, queued: Callable[..., Watched], strategy: str, outcome: str, waits: bool
) -> None:
    run = queued() if waits else Watched(server, gate)
    if not waits:
        gate.node(run.input)
    body = {"assistant_id": "joke", "input": {"topic": "ice"}, "multitask_strategy": strategy}
    new = server.post(f"/threads/{run.thread}/runs", body)["run_id"]
    reason = f"superseded by run {new} (multitask_strategy={strategy})"
    assert run.told() == done(run.run, outcome, reason)
    if strategy == "interrupt":
        assert (run.row()["status"], run.row()["reason"]) == ("interrupted", reason)
    else:
        assert server.request("GET", run.path).status == 404


@pytest.mark.parametrize("waits", [False, True], ids=["running", "waiting"])
def test_the_runs_of_a_deleted_thread_are_told_as_deleted(
    server: Server, gate: Gate, queued: Callable[..., Watched], waits: bool
) -> None:
    run = queued() if waits else Watched(server, gate)
    if not waits:
        gate.node(run.input)
    assert server.request("DELETE", f"/threads/{run.thread}").status == 204
    assert run.told() == done(run.run, "deleted", "the thread was deleted")


@pytest.mark.parametrize("fields", [{}, {"after_seconds": 3600}], ids=["queued", "delayed"])
@pytest.mark.parametrize(("action", "outcome"), [("interrupt", "interrupted"), ("rollback", "rolled_back")])
def test_who_waits_for_a_run_that_never_began_is_told_too(
    gate: Gate, queued: Callable[..., Watched], fields: dict[str, Any], action: str, outcome: str
) -> None:
    run = queued(**fields)
    run.cancel(f"&action={action}")
    assert run.told() == done(run.run, outcome, run.reason())
    assert not gate.started(run.input)


def test_a_delayed_run_of_a_quiet_thread_is_told_too(server: Server, gate: Gate) -> None:
    run = Watched(server, gate, after_seconds=3600)
    run.cancel()
    assert run.joined.json() == {"__run__": done(run.run, "interrupted", run.reason())}
    assert server.get(f"/threads/{run.thread}")["status"] == "idle"


def test_runs_that_are_cancelled_together_are_told(server: Server, gate: Gate) -> None:
    thread = server.new_thread()
    runs = [Watched(server, gate, thread) for _ in range(3)]
    gate.node(runs[0].input)
    server.post("/runs/cancel", {"thread_id": thread, "run_ids": [run.run for run in runs]})
    reason = "interrupt requested via POST /runs/cancel"
    assert [run.told() for run in runs] == [done(run.run, "interrupted", reason) for run in runs]


def test_a_run_without_a_thread_is_told_as_interrupted(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    body = {"assistant_id": "gate", "input": graph_input}
    waiting = server.request("POST", "/runs/wait", body)
    gate.node(graph_input)
    server.post(f"{run_of(waiting)}/cancel")
    told = waiting.json()
    assert (told["__run__"]["outcome"], told["key"]) == ("interrupted", graph_input["key"])


# ---------------------------------------------------------------- runs that took too long
@pytest.fixture(scope="module")
def impatient(start_server: RunningServer) -> Server:
    return start_server(BG_JOB_TIMEOUT_SECS="0.5")


def test_a_run_that_took_too_long_has_failed(impatient: Server, gate: Gate) -> None:
    thread, graph_input = impatient.new_thread(), gate.input()
    body = {"assistant_id": "gate", "input": graph_input}
    stream = impatient.stream("gate", graph_input, thread)
    waiting = impatient.request("GET", f"{run_of(stream)}/join")
    error = {"error": "TimeoutError", "message": "the run took longer than 0.5 seconds"}
    assert (stream.rest()[-1].event, waiting.json()) == ("error", {"__error__": error})
    assert impatient.join(f"{run_of(stream)}/stream", "-1").rest()[-1].data == error
    run = impatient.get(run_of(stream))
    assert (run["status"], run["error"], run["reason"]) == ("timeout", error, error["message"])
    found = impatient.get(f"/threads/{thread}")
    assert (found["status"], found["error"]) == ("error", error)
    assert impatient.post(f"/threads/{thread}/runs/wait", {**body, "input": gate.input()}) == {
        "__error__": error
    }


# ---------------------------------------------------------------- runs that nobody stopped
def test_a_run_that_succeeded_or_failed_ends_as_on_the_reference(server: Server) -> None:
    good = server.stream("joke", {"topic": "ice"})
    assert [frame.event for frame in good.rest()] == ["metadata", "values", "values"]
    bad = server.stream("boom", {"how": "first"})
    assert [frame.event for frame in bad.rest()][-1] == "error"
    asking = server.stream("intr", {"x": "1"})
    assert "__interrupt__" in asking.rest()[-1].data
    for stream in (good, bad, asking):
        assert "__run__" not in server.get(f"{run_of(stream)}/join")


# ---------------------------------------------------------------- when the log is gone
def test_after_a_restart_who_joins_is_told_the_same(tmp_path: Path, engine: Engine, gate: Gate) -> None:
    server = start(tmp_path, BG_JOB_TIMEOUT_SECS="1", engine=engine)
    try:
        cancelled, slow = Watched(server, gate), Watched(server, gate)
        gate.node(cancelled.input)
        delayed = Watched(server, gate, after_seconds=3600)
        failed = server.stream("boom", {"how": "first"})
        for run in (cancelled, delayed):
            run.cancel()
        ended = [cancelled.path, slow.path, delayed.path, run_of(failed)]
        before = [server.get(f"{path}/join") for path in ended]
        assert [next(key for key in told if key.startswith("__")) for told in before] == [
            "__run__",
            "__error__",
            "__run__",
            "__error__",
        ]
        stop(server)
        server = start(tmp_path, engine=engine)
        assert [server.get(f"{path}/join") for path in ended] == before
    finally:
        stop(server)


def test_after_a_restart_a_stream_of_a_stopped_run_is_whole_or_says_that_it_is_no_longer_held(
    tmp_path: Path, engine: Engine, gate: Gate
) -> None:
    """Redis holds it as long as ever; the memory of one process is gone."""
    server = start(tmp_path, engine=engine)
    try:
        run = Watched(server, gate)
        gate.node(run.input)
        run.cancel()
        before = run.reader.rest()
        stop(server)
        server = start(tmp_path, engine=engine)
        assert server.join(f"{run.path}/stream").rest() == []
        after = server.join(f"{run.path}/stream", "-1").rest()
        if engine is EMBEDDED:
            assert [frame.data["error"] for frame in after] == ["EventsExpired"]
        else:
            assert [(frame.id, frame.data) for frame in after] == [(frame.id, frame.data) for frame in before]
    finally:
        stop(server)


# ---------------------------------------------------------------- the official SDKs
@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, api_key=None) as client:
        yield client


async def cancelled(client: LangGraphClient, gate: Gate, thread_id: str, graph_input: Any) -> str:
    """Cancel the run of a thread once it is under way; its id."""
    await asyncio.to_thread(gate.node, graph_input)
    run = (await client.runs.list(thread_id))[0]
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    return run["run_id"]


async def test_the_python_sdk_streams_a_run_that_is_cancelled(client: LangGraphClient, gate: Gate) -> None:
    thread_id, graph_input = (await client.threads.create())["thread_id"], gate.input()
    parts = client.runs.stream(thread_id, "gate", input=graph_input)
    first = await anext(parts)
    run_id = await cancelled(client, gate, thread_id, graph_input)
    rest = [part async for part in parts]
    assert first.data == {"run_id": run_id, "attempt": 1}
    assert (rest[-1].event, rest[-1].data["outcome"]) == ("metadata", "interrupted")
    again = [part async for part in client.runs.join_stream(thread_id, run_id, last_event_id="-1")]
    assert again == [first, *rest]


async def test_the_python_sdk_waits_for_a_run_that_is_cancelled(client: LangGraphClient, gate: Gate) -> None:
    thread_id, graph_input = (await client.threads.create())["thread_id"], gate.input()
    waiting = asyncio.ensure_future(client.runs.wait(thread_id, "gate", input=graph_input))
    run_id = await cancelled(client, gate, thread_id, graph_input)
    told = dict(await waiting)  # type: ignore[arg-type]
    assert await client.runs.join(thread_id, run_id) == told
    assert told.pop("__run__")["outcome"] == "interrupted"
    assert told == graph_input


async def test_the_python_sdk_waits_for_a_queued_run_that_is_cancelled(
    client: LangGraphClient, gate: Gate
) -> None:
    thread_id, first = (await client.threads.create())["thread_id"], gate.input()
    await client.runs.create(thread_id, "gate", input=first)
    await asyncio.to_thread(gate.node, first)
    run = await client.runs.create(thread_id, "joke", input={"topic": "ice"})
    waiting = asyncio.ensure_future(client.runs.join(thread_id, run["run_id"]))
    streaming = client.runs.join_stream(thread_id, run["run_id"], last_event_id="-1")
    read = asyncio.ensure_future(anext(streaming))
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    assert (await waiting)["__run__"]["outcome"] == "interrupted"  # type: ignore[call-overload]
    assert (await read).data["outcome"] == "interrupted"
    assert [part async for part in streaming] == []


def test_the_sync_python_sdk_streams_waits_and_joins(server: Server, gate: Gate) -> None:
    client = get_sync_client(url=server.url, api_key=None)
    thread_id, graph_input = client.threads.create()["thread_id"], gate.input()
    parts = client.runs.stream(thread_id, "gate", input=graph_input)
    run_id = next(parts).data["run_id"]
    gate.node(graph_input)
    client.runs.cancel(thread_id, run_id, wait=True)
    assert [part.event for part in parts][-1] == "metadata"
    assert client.runs.join(thread_id, run_id)["__run__"]["outcome"] == "interrupted"
    delayed = client.runs.create(thread_id, "joke", input={"topic": "ice"}, after_seconds=3600)
    client.runs.cancel(thread_id, delayed["run_id"], wait=True)
    assert client.runs.join(thread_id, delayed["run_id"])["__run__"]["outcome"] == "interrupted"


async def test_the_python_sdk_raises_for_a_run_that_took_too_long(impatient: Server, gate: Gate) -> None:
    text = "TimeoutError: the run took longer than 0.5 seconds"
    with pytest.raises(Exception, match=text):
        await asyncio.to_thread(
            get_sync_client(url=impatient.url, api_key=None).runs.wait, None, "gate", input=gate.input()
        )
    async with get_client(url=impatient.url, api_key=None) as client:
        with pytest.raises(Exception, match=text):
            await client.runs.wait(None, "gate", input=gate.input())
        parts = [part async for part in client.runs.stream(None, "gate", input=gate.input())]
        assert parts[-1].event == "error"
