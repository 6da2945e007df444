"""A server that is replaced while runs are under way: what can end does, the rest goes on in the next one."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fix_v2
import pytest
import wire
from fix_gate import Gate
from fix_server import Server, eventually, run_of, start, stop
from langgraph_sdk import get_client

GRACE = "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS"
EXIT_SECONDS = 10.0  # after the grace, on a busy machine too; a grace that must not be waited for is longer

Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server, on the data and the port of the one before."""
    started: list[Server] = []

    def start_one(grace: float = 20, **env: str) -> Server:
        port = started[-1].port if started else None
        started.append(start(tmp_path, port=port, **{GRACE: f"{grace}"}, **env))
        return started[-1]

    yield start_one
    for server in started:
        stop(server)


def terminate(server: Server) -> float:
    """Ask the server to stop; when it knows of it, on the machine's monotonic clock."""
    asked = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert eventually(lambda: server.request("GET", "/ok").status == 503)
    return asked


def ends(server: Server, seconds: float) -> None:
    """The server ends in good order within so many seconds."""
    assert server.process.wait(timeout=seconds) == 0, server.log


def background(server: Server, graph: str, graph_input: Any, thread: str | None = None, **fields: Any) -> str:
    """The path of a run that was started in the background."""
    thread = thread or server.new_thread()
    body = {"assistant_id": graph, "input": graph_input, **fields}
    return f"/threads/{thread}/runs/{server.post(f'/threads/{thread}/runs', body)['run_id']}"


def words(frames: list[wire.Frame]) -> list[str]:
    found = [frame.data[0]["content"] for frame in frames if frame.event == "messages"]
    return [word for word in found if word]


# ---------------------------------------------------------------- within the grace
def test_a_run_that_ends_within_the_grace_is_streamed_to_its_clean_end(serve: Serve, gate: Gate) -> None:
    server, graph_input = serve(), gate.input()
    stream = server.stream("gate", graph_input, stream_mode="messages-tuple")
    waiting = server.request("GET", f"{run_of(stream)}/join")
    node = gate.node(graph_input)
    terminate(server)
    for word in ("one ", "two"):
        node.say(word)
        assert stream.next("messages").data[0]["content"] == word
    node.finish()
    assert words(stream.rest()) == []
    assert (stream.ended_by, waiting.json()["done"]) == ("last chunk", True)
    ends(server, EXIT_SECONDS)
    again = serve()
    assert again.get(run_of(stream))["status"] == "success"
    assert again.get(run_of(stream))["attempt"] == 1


def test_a_long_answer_is_read_to_its_end_though_the_server_goes(serve: Serve, gate: Gate) -> None:
    """More than one write, by a client that does not read at once."""
    server, graph_input = serve(), gate.input()
    stream = server.stream("gate", graph_input, stream_mode="custom", receive_bytes=4096)
    node = gate.node(graph_input)
    terminate(server)
    for number in range(40):
        node.write({"number": number, "text": "x" * 20_000})
    node.finish()
    frames = stream.rest()
    assert [frame.data["number"] for frame in frames if frame.event == "custom"] == list(range(40))
    assert stream.ended_by == "last chunk"
    ends(server, EXIT_SECONDS)


def test_meanwhile_the_server_says_that_it_is_not_ready_and_still_answers(serve: Serve, gate: Gate) -> None:
    server, graph_input = serve(), gate.input()
    run = background(server, "gate", graph_input)
    node = gate.node(graph_input)
    terminate(server)
    for path in ("/ok", "/"):
        answer = server.request("GET", path)
        assert (answer.status, answer.json()) == (503, {"detail": "The server is stopping."})
    assert server.request("GET", "/ok?live=1").status == 200  # who is stopping need not be killed
    assert server.get(run)["status"] == "running"
    assert server.request("GET", "/info").status == 200
    node.finish()
    ends(server, EXIT_SECONDS)


@pytest.mark.parametrize("kind", ["stream", "wait"])
def test_a_run_that_is_asked_for_meanwhile_is_kept_for_the_next_process(
    serve: Serve, gate: Gate, kind: str
) -> None:
    server, graph_input = serve(), gate.input()
    background(server, "gate", graph_input)
    node = gate.node(graph_input)
    terminate(server)
    body = {"assistant_id": "joke", "input": {"topic": "ice"}}
    late = server.request("POST", f"/threads/{server.new_thread()}/runs/{kind}", body)
    assert late.status == 200
    assert server.get(run_of(late))["status"] == "pending"
    node.finish()
    assert late.body().strip() == b""
    assert late.ended_by == "cut"
    ends(server, EXIT_SECONDS)
    again = serve()
    assert again.get(f"{run_of(late)}/join") == {"topic": "ice", "joke": "Why ice? Ha!"}
    assert again.get(run_of(late))["attempt"] == 1


def test_runs_that_wait_their_turn_survive(serve: Serve, gate: Gate) -> None:
    server, graph_input = serve(), gate.input()
    first = background(server, "gate", graph_input)
    thread = first.split("/")[2]
    node = gate.node(graph_input)
    queued = [background(server, "joke", {"topic": f"{number}"}, thread) for number in range(3)]
    delayed = background(server, "joke", {"topic": "late"}, after_seconds=1)
    terminate(server)
    node.finish()
    ends(server, EXIT_SECONDS)
    again = serve()
    for path in (first, *queued, delayed):
        again.get(f"{path}/join")
        assert (again.get(path)["status"], again.get(path)["attempt"]) == ("success", 1)
    ended = [again.get(path)["updated_at"] for path in queued]
    assert ended == sorted(ended)


def test_a_cancel_still_stops_a_run_while_the_server_waits_for_it(serve: Serve, gate: Gate) -> None:
    server, graph_input = serve(), gate.input()
    run = background(server, "gate", graph_input)
    node = gate.node(graph_input)
    terminate(server)
    server.post(f"{run}/cancel?wait=1")
    assert node.hear() == "cancelled"
    ends(server, EXIT_SECONDS)
    assert serve().get(run)["status"] == "interrupted"


# ---------------------------------------------------------------- after the grace
@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
def test_after_the_grace_the_graph_ends_after_the_step_at_hand_and_goes_on_with_the_next(
    serve: Serve, gate: Gate, durability: str
) -> None:
    server, graph_input = serve(grace=1, BG_JOB_MAX_RETRIES="1"), gate.input()
    modes = ["messages-tuple", "updates"]
    stream = server.stream("held_twice", graph_input, stream_mode=modes, durability=durability)
    node = gate.node(graph_input)
    node.say("first")
    stream.next("messages")
    terminate(server)
    node.finish()
    ends(server, EXIT_SECONDS + 1)
    seen = stream.rest()
    assert stream.ended_by == "cut"
    assert [list(frame.data) for frame in seen if frame.event == "updates"] == [["first"]]
    again = serve(BG_JOB_MAX_RETRIES="1")
    resumed = again.join(stream.header("location") or "", seen[-1].id)
    node = gate.node(graph_input)
    node.say("second")
    node.finish()
    frames = resumed.rest()
    assert frames[0].data == {"run_id": run_of(stream).rsplit("/", 1)[1], "attempt": 2}
    assert [list(frame.data) for frame in frames if frame.event == "updates"] == [["second"]]
    assert words(frames) == ["second"]
    values = again.get(f"{run_of(stream)}/join")
    assert [message["content"] for message in values["messages"]] == ["first", "second"]
    assert not gate.started(graph_input)


@pytest.mark.parametrize("graph", ["gate", "gate_sync", "held"])
def test_a_node_that_does_not_end_is_given_up_in_time_and_executed_again(
    serve: Serve, gate: Gate, graph: str
) -> None:
    server, graph_input = serve(grace=0.5), gate.input(messages=[]) if graph == "held" else gate.input()
    stream = server.stream(graph, graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    node.say("half")
    last = stream.next("messages")
    asked = terminate(server)
    stream.rest()
    ends(server, 0.5 + EXIT_SECONDS)
    assert time.monotonic() - asked < 0.5 + EXIT_SECONDS
    assert stream.ended_by in ("cut", "reset")
    again = serve()
    resumed = again.join(stream.header("location") or "", last.id)
    node = gate.node(graph_input)
    node.say("whole")
    node.finish()
    frames = resumed.rest()
    assert (frames[0].data["attempt"], words(frames)) == (2, ["whole"])
    assert again.get(run_of(stream))["status"] == "success"


def test_a_node_that_blocks_for_ever_does_not_hold_up_the_end(serve: Serve, gate: Gate) -> None:
    server, graph_input = serve(grace=0.5), gate.input()
    run = background(server, "blocking", graph_input)
    gate.node(graph_input)
    asked = terminate(server)
    ends(server, 0.5 + EXIT_SECONDS)
    assert time.monotonic() - asked < 0.5 + EXIT_SECONDS
    again = serve(grace=0)
    gate.node(graph_input)
    assert (again.get(run)["status"], again.get(run)["attempt"]) == ("running", 2)


def test_with_no_grace_the_server_ends_at_once(serve: Serve, gate: Gate) -> None:
    server, graph_input = serve(grace=0), gate.input()
    run = background(server, "gate", graph_input)
    gate.node(graph_input)
    server.process.send_signal(signal.SIGTERM)
    ends(server, EXIT_SECONDS)
    again = serve(grace=0)
    gate.node(graph_input).finish()
    again.get(f"{run}/join")
    assert again.get(run)["attempt"] == 2


def test_a_run_that_outlives_server_after_server_is_never_given_up(serve: Serve, gate: Gate) -> None:
    """Replacing servers is no failure of the run, however few tries it has."""
    graph_input = gate.input()
    server = serve(grace=0, BG_JOB_MAX_RETRIES="1")
    run = background(server, "gate", graph_input)
    for attempt in range(1, 5):
        node = gate.node(graph_input)
        assert server.get(run)["attempt"] == attempt
        server.process.send_signal(signal.SIGTERM)
        ends(server, EXIT_SECONDS)
        server = serve(grace=0, BG_JOB_MAX_RETRIES="1")
    node = gate.node(graph_input)
    node.finish()
    server.get(f"{run}/join")
    assert server.get(run)["status"] == "success"


def test_runs_that_begin_in_the_moment_of_the_signal_are_not_counted_as_failures(serve: Serve) -> None:
    """With one try each, a run that was only claimed must not be given up for it."""
    one_try = {"grace": 0, "BG_JOB_MAX_RETRIES": "1"}
    server = serve(**one_try)
    body = {"assistant_id": "slow", "input": {"n": 2, "pause": 0.01}}
    runs: list[str] = []

    def ask() -> None:
        thread = server.new_thread()
        while True:
            run = server.post(f"/threads/{thread}/runs", body)["run_id"]
            runs.append(f"/threads/{thread}/runs/{run}")

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask) for _ in range(8)]
        assert eventually(lambda: len(runs) > 40)
        server.process.send_signal(signal.SIGTERM)
        ends(server, EXIT_SECONDS + 1)
    assert all(isinstance(call.exception(), OSError | wire.Closed) for call in asking)
    server = serve(grace=20, BG_JOB_MAX_RETRIES="1")
    for run in runs:
        server.get(f"{run}/join")
        assert server.get(run)["status"] == "success"


# ---------------------------------------------------------------- signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_with_nothing_running_the_server_ends_at_once(serve: Serve, number: int) -> None:
    server = serve(grace=60)
    server.wait("joke", {"topic": "ice"})
    server.process.send_signal(number)
    ends(server, EXIT_SECONDS)


def test_a_second_signal_ends_the_server_at_once(serve: Serve, gate: Gate) -> None:
    server, graph_input = serve(grace=60), gate.input()
    run = background(server, "gate", graph_input)
    gate.node(graph_input)
    terminate(server)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=EXIT_SECONDS) == 128 + signal.SIGTERM
    again = serve()
    gate.node(graph_input).finish()
    again.get(f"{run}/join")
    assert again.get(run)["status"] == "success"


# ---------------------------------------------------------------- the official SDK, over a replacement
async def test_the_python_sdk_streams_on_in_the_next_process(serve: Serve, gate: Gate) -> None:
    """Of what the given up attempt had said, the second begins anew, and says that it is the second."""
    server, graph_input = serve(grace=0), gate.input()
    async with get_client(url=server.url, api_key=None) as client:
        thread_id = (await client.threads.create())["thread_id"]
        parts = client.runs.stream(thread_id, "gate", input=graph_input, stream_mode="messages-tuple")
        assert (await anext(parts)).data["attempt"] == 1
        node = await asyncio.to_thread(gate.node, graph_input)
        node.say("half")
        assert (await anext(parts)).data[0]["content"] == "half"
        following = asyncio.ensure_future(anext(parts))
        await asyncio.to_thread(terminate_at_once, server)
        await asyncio.to_thread(serve)
        assert (await following).data["attempt"] == 2
        node = await asyncio.to_thread(gate.node, graph_input)
        for word in ("one ", "two"):
            node.say(word)
            assert (await anext(parts)).data[0]["content"] == word
        node.finish()
        assert [part.event async for part in parts] == ["messages"]


def terminate_at_once(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    ends(server, EXIT_SECONDS)


async def test_the_python_sdk_waits_on_in_the_next_process(serve: Serve, gate: Gate) -> None:
    server, graph_input = serve(grace=0), gate.input()
    async with get_client(url=server.url, api_key=None) as client:
        thread_id = (await client.threads.create())["thread_id"]
        waiting = asyncio.ensure_future(client.runs.wait(thread_id, "gate", input=graph_input))
        await asyncio.to_thread(gate.node, graph_input)
        await asyncio.to_thread(terminate_at_once, server)
        await asyncio.to_thread(serve)
        (await asyncio.to_thread(gate.node, graph_input)).finish()
        assert (await waiting)["done"] is True  # type: ignore[call-overload]


async def test_the_python_sdk_gets_every_token_of_a_run_that_ends_within_the_grace(
    serve: Serve, gate: Gate
) -> None:
    server, graph_input = serve(), gate.input()
    async with get_client(url=server.url, api_key=None) as client:
        parts = client.runs.stream(None, "gate", input=graph_input, stream_mode="messages-tuple")
        await anext(parts)
        node = await asyncio.to_thread(gate.node, graph_input)
        await asyncio.to_thread(terminate, server)
        said = [f"{number} " for number in range(20)]
        for word in said:
            node.say(word)
        node.finish()
        await asyncio.to_thread(ends, server, EXIT_SECONDS)
        await asyncio.to_thread(
            serve
        )  # the SDK asks how the run ended, and the first server may be gone by then
        heard = [part.data[0]["content"] async for part in parts if part.event == "messages"]
        assert [word for word in heard if word] == said


# ---------------------------------------------------------------- protocol v2, over a replacement
def test_a_stream_of_protocol_v2_breaks_off_and_goes_on_in_the_next_process(serve: Serve, gate: Gate) -> None:
    server, graph_input, thread = serve(grace=0), gate.input(), fix_v2.new_id()
    response = fix_v2.subscribe(server, thread)
    events = fix_v2.checked(response.frames())
    run = fix_v2.begin(server, thread, "gate", graph_input)
    gate.node(graph_input).say("half")
    before = fix_v2.until(events, lambda event: event["method"] == "messages")
    terminate_at_once(server)
    assert fix_v2.endings(list(events)) == []
    assert response.ended_by in ("cut", "reset")
    again = serve()
    node = gate.node(graph_input)
    with fix_v2.watching(again, thread) as more:
        node.say("whole")
        node.finish()
        after = fix_v2.until(more)
    assert after[0]["event_id"] == before[0]["event_id"] == f"synth:{run}:lc||running"
    assert after[0]["seq"] > before[-1]["seq"]
    assert (list(fix_v2.texts(after).values()), fix_v2.endings(after)) == (["whole"], ["completed"])
