"""What a stream looks like on the wire: head, frames, heartbeats, and what is true when it closes.

wire.py refuses every frame that is not event, data, id with CRLF, and every chunk without whole frames.
"""

import itertools
import json
import re
import socket
import time
from collections.abc import Callable

import pytest
import wire
from fix_gate import Gate
from fix_server import RunningServer, Server, run_of

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
BEAT_SECONDS = 0.2
TRIES = 5


@pytest.fixture(scope="module")
def beating(start_server: RunningServer) -> Server:
    """A server whose heart beats every 0.2 s instead of every 5 s."""
    return start_server(GRAPHWIRE_HEARTBEAT_SECONDS=str(BEAT_SECONDS))


# ---------------------------------------------------------------- the head
def assert_stream_head(response: wire.Response) -> None:
    assert response.header("content-type") == "text/event-stream; charset=utf-8"
    assert response.header("cache-control") == "no-store, no-transform"
    assert response.header("x-accel-buffering") == "no"
    assert response.header("transfer-encoding") == "chunked"
    assert response.header("content-encoding") is None


def test_the_head_of_a_stream_on_a_thread(server: Server) -> None:
    thread = server.new_thread()
    response = server.stream("joke", {"topic": "ice"}, thread)
    assert_stream_head(response)
    assert re.fullmatch(f"/threads/{thread}/runs/{UUID}", run_of(response))
    assert response.header("location") == f"{run_of(response)}/stream"


def test_the_head_of_a_stream_without_a_thread(server: Server) -> None:
    response = server.stream("joke", {"topic": "ice"}, thread=None)
    assert_stream_head(response)
    location = response.header("location") or ""
    assert re.fullmatch(f"/threads/{UUID}/runs/{UUID}/stream", location)
    assert re.fullmatch(f"(/threads/{UUID})?/runs/{UUID}", run_of(response))
    assert location.endswith(f"{run_of(response)}/stream")


def test_the_head_of_a_joined_stream(server: Server) -> None:
    first = server.stream("joke", {"topic": "ice"})
    first.rest()
    response = server.join(f"{run_of(first)}/stream", "-1")
    assert_stream_head(response)
    assert run_of(response) == run_of(first)
    assert response.header("location") == f"{run_of(first)}/stream"


def test_the_head_of_a_wait_on_a_thread(server: Server) -> None:
    thread = server.new_thread()
    body = {"assistant_id": "joke", "input": {"topic": "ice"}}
    response = server.request("POST", f"/threads/{thread}/runs/wait", body)
    assert response.header("content-type") == "application/json"
    assert re.fullmatch(f"/threads/{thread}/runs/{UUID}", run_of(response))
    assert response.header("location") == f"{run_of(response)}/join"


def test_nothing_is_compressed_even_when_the_client_could(server: Server) -> None:
    body = {"assistant_id": "joke", "input": {"topic": "ice"}}
    response = server.request("POST", "/runs/stream", body, headers={"Accept-Encoding": "gzip, br, zstd"})
    assert_stream_head(response)
    assert response.rest()[0].event == "metadata"


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/event-stream", "image/png"])
def test_events_are_sent_whatever_the_client_accepts(server: Server, accept: str) -> None:
    body = {"assistant_id": "joke", "input": {"topic": "ice"}}
    assert_stream_head(server.request("POST", "/runs/stream", body, headers={"Accept": accept}))


def test_the_head_comes_at_once_though_the_run_waits_its_turn(server: Server, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    first = server.stream("gate", graph_input, thread)
    node = gate.node(graph_input)
    second = server.stream("joke", {"topic": "ice"}, thread)  # returns when the head is there
    assert server.get(run_of(second))["status"] == "pending"
    node.finish()
    first.rest()
    assert second.next_frame().event == "metadata"
    second.rest()


def test_a_client_of_http_1_0_gets_the_stream_without_chunks(server: Server) -> None:
    body = json.dumps({"assistant_id": "joke", "input": {"topic": "ice"}}).encode()
    about = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    head = f"POST /runs/stream HTTP/1.0\r\n{about}".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=wire.TIMEOUT_SECONDS) as sock:
        sock.sendall(head + body)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, stream = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert [frame.event for frame in wire.Frames().feed(stream)] == ["metadata", "values", "values"]


def test_a_connection_serves_another_request_after_a_stream(server: Server) -> None:
    body = json.dumps({"assistant_id": "joke", "input": {"topic": "ice"}}).encode()
    about = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    head = f"POST /runs/stream HTTP/1.1\r\n{about}".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=wire.TIMEOUT_SECONDS) as sock:
        for _ in range(2):
            sock.sendall(head + body)
            stream = wire.Response(sock, "POST")
            assert [frame.event for frame in stream.frames()] == ["metadata", "values", "values"]


# ---------------------------------------------------------------- frames
def test_the_bytes_of_a_whole_stream(server: Server) -> None:
    frames = server.stream("joke", {"topic": "été"}).rest()
    run_id = frames[0].data["run_id"]
    expected = [
        f'event: metadata\r\ndata: {{"run_id":"{run_id}","attempt":1}}\r\nid: {frames[0].id}\r\n',
        f'event: values\r\ndata: {{"topic":"été"}}\r\nid: {frames[1].id}\r\n\r\n',
        f'event: values\r\ndata: {{"topic":"été","joke":"Why été? Ha!"}}\r\nid: {frames[2].id}\r\n\r\n',
    ]
    assert frames[0].raw.startswith(expected[0].encode())
    assert [frame.raw for frame in frames[1:]] == [text.encode() for text in expected[1:]]


def test_the_first_event_names_the_run_and_the_attempt(server: Server) -> None:
    stream = server.stream("joke", {"topic": "ice"})
    first = stream.next_frame()
    assert first.event == "metadata"
    assert first.data == {"run_id": run_of(stream).rsplit("/", 1)[1], "attempt": 1}


def test_the_retry_time_is_sent_with_the_first_event(server: Server) -> None:
    frames = server.stream("joke", {"topic": "ice"}).rest()
    assert [frame.retry for frame in frames] == ["1000", None, None]


def test_no_end_event_is_sent_and_the_body_ends_with_its_last_chunk(server: Server) -> None:
    stream = server.stream("joke", {"topic": "ice"})
    assert "end" not in [frame.event for frame in stream.rest()]
    assert stream.ended_by == "last chunk"


def test_the_error_is_the_last_event(server: Server) -> None:
    stream = server.stream("boom", {"how": "first"})
    assert stream.rest()[-1].event == "error"
    assert stream.ended_by == "last chunk"


def test_each_token_is_sent_before_the_next_is_spoken(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    stream = server.stream("gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    for number in range(50):
        node.say(f"word {number}")
        assert stream.next("messages").data[0]["content"] == f"word {number}"
    node.finish()
    stream.rest()


def test_tokens_of_a_sync_node_are_sent_one_by_one_too(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    stream = server.stream("gate_sync", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    for number in range(20):
        node.say(f"word {number}")
        assert stream.next("messages").data[0]["content"] == f"word {number}"
    node.finish()
    stream.rest()


def test_custom_events_are_sent_while_the_node_still_works(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    stream = server.stream("gate", graph_input, stream_mode="custom")
    node = gate.node(graph_input)
    node.write({"progress": 0.5})
    assert stream.next("custom").data == {"progress": 0.5}
    node.finish()
    stream.rest()


def test_the_name_of_a_subgraph_cannot_forge_an_event(server: Server) -> None:
    frames = server.stream("forged", {"x": 1}, stream_mode="updates", stream_subgraphs=True).rest()
    names = [frame.event for frame in frames]
    assert [name.split("|")[0] for name in names] == ["metadata", "updates", "updates"]
    assert all(len(frame.raw.decode().splitlines()) <= 5 for frame in frames)


# ---------------------------------------------------------------- heartbeats
def beats(response: wire.Response, count: int, started: float) -> list[float]:
    """When the next `count` heartbeats came, in seconds since `started`."""
    times: list[float] = []
    for chunk in response.chunks():
        response.frames_seen.feed(chunk)
        times += [time.monotonic() - started] * (response.frames_seen.heartbeats - len(times))
        if len(times) >= count:
            break
    return times


def assert_on_the_grid(listen: Callable[[], list[float]]) -> None:
    """When a stream beats. A busy machine can be late, so one of some tries must be right; early is none."""
    for _ in range(TRIES):
        late = [at - number * BEAT_SECONDS for number, at in enumerate(listen(), 1)]
        assert min(late) > -BEAT_SECONDS / 2, f"heartbeats too early: {late}"
        if max(late) < BEAT_SECONDS / 2:
            return
    pytest.fail(f"heartbeats too late: {late}")


def test_a_silent_stream_beats_on_a_fixed_grid_from_its_start(beating: Server, gate: Gate) -> None:
    def listen() -> list[float]:
        thread, started = beating.new_thread(), time.monotonic()
        return beats(beating.stream("gate", gate.input(), thread), 5, started)

    assert_on_the_grid(listen)


def test_a_stream_beats_also_between_tokens(beating: Server, gate: Gate) -> None:
    def listen() -> list[float]:
        thread, graph_input, started = beating.new_thread(), gate.input(), time.monotonic()
        stream = beating.stream("gate", graph_input, thread, stream_mode="messages-tuple")
        node = gate.node(graph_input)
        times: list[float] = []
        for chunk in stream.chunks():
            stream.frames_seen.feed(chunk)
            times += [time.monotonic() - started] * (stream.frames_seen.heartbeats - len(times))
            if len(times) >= 4:
                break
            node.say("word ")  # answers every write: the stream is never silent for the length of a beat
        return times

    assert_on_the_grid(listen)


def test_a_run_that_waits_its_turn_beats_too(beating: Server, gate: Gate) -> None:
    thread, graph_input = beating.new_thread(), gate.input()
    beating.stream("gate", graph_input, thread)
    gate.node(graph_input)

    def listen() -> list[float]:
        started = time.monotonic()
        return beats(beating.stream("joke", {"topic": "ice"}, thread), 3, started)

    assert_on_the_grid(listen)


def test_a_joined_stream_beats_from_its_own_start(beating: Server, gate: Gate) -> None:
    graph_input = gate.input()
    first = beating.stream("gate", graph_input)
    gate.node(graph_input)
    beats(first, 2, 0.0)

    def listen() -> list[float]:
        started = time.monotonic()
        return beats(beating.join(f"{run_of(first)}/stream"), 3, started)

    assert_on_the_grid(listen)


def test_a_quick_stream_has_no_heartbeat(server: Server) -> None:
    stream = server.stream("joke", {"topic": "ice"})
    stream.rest()
    assert stream.frames_seen.heartbeats == 0


def test_a_wait_is_kept_alive_by_newlines_before_its_json(beating: Server, gate: Gate) -> None:
    thread, graph_input = beating.new_thread(), gate.input()
    body = {"assistant_id": "gate", "input": graph_input}
    response = beating.request("POST", f"/threads/{thread}/runs/wait", body)
    chunks = response.chunks()
    assert list(itertools.islice(chunks, 3)) == [b"\n"] * 3
    node = gate.node(graph_input)
    node.finish()
    rest = b"".join(chunks)
    assert json.loads(rest)["done"] is True
    assert response.ended_by == "last chunk"


# ---------------------------------------------------------------- what is true when a stream closes
@pytest.mark.parametrize("attempt", range(8))
@pytest.mark.parametrize(
    ("graph", "graph_input", "run_status", "thread_status"),
    [
        ("joke", {"topic": "ice"}, "success", "idle"),
        ("boom", {"how": "plain"}, "error", "error"),
        ("intr", {"x": "1"}, "success", "interrupted"),
    ],
)
def test_the_final_status_is_visible_the_moment_the_stream_closes(
    server: Server, graph: str, graph_input: dict[str, str], run_status: str, thread_status: str, attempt: int
) -> None:
    stream = server.stream(graph, graph_input)
    stream.rest()
    run = run_of(stream)
    assert server.get(run)["status"] == run_status
    assert server.get(run.rsplit("/runs/", 1)[0])["status"] == thread_status


def test_the_final_values_are_visible_the_moment_the_stream_closes(server: Server) -> None:
    stream = server.stream("joke", {"topic": "ice"}, stream_mode="updates")
    stream.rest()
    thread = run_of(stream).rsplit("/runs/", 1)[0]
    assert (
        server.get(thread)["values"]
        == server.get(f"{thread}/state")["values"]
        == {
            "topic": "ice",
            "joke": "Why ice? Ha!",
        }
    )


@pytest.mark.parametrize("attempt", range(4))
@pytest.mark.parametrize("mode", ["values", "updates", "tasks", "debug"])
def test_the_thread_is_interrupted_before_the_client_sees_the_interrupt(
    server: Server, mode: str, attempt: int
) -> None:
    stream = server.stream("intr", {"x": "1"}, stream_mode=mode)
    while b'"question"' not in stream.next_frame().raw:
        pass
    thread = server.get(run_of(stream).rsplit("/runs/", 1)[0])
    assert thread["status"] == "interrupted"
    assert [item["value"] for items in thread["interrupts"].values() for item in items] == [
        {"question": "ok?", "x": "1"}
    ]
    assert server.get(run_of(stream))["status"] == "success"


@pytest.mark.parametrize("attempt", range(4))
def test_an_answer_sent_on_sight_of_the_interrupt_is_accepted(server: Server, attempt: int) -> None:
    thread = server.new_thread()
    stream = server.stream("intr", {"x": "1"}, thread, stream_mode="updates")
    while "__interrupt__" not in stream.next("updates").data:
        pass
    values = server.wait("intr", None, thread, command={"resume": "yes"}, multitask_strategy="reject")
    assert values["log"] == ["start:st", "ask:yes", "finish"]
