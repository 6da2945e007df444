"""Readers that do not read cost the server nothing and their run no time."""

import json

import pytest
from fix_gate import Gate
from fix_server import RunningServer, Server, eventually, run_of
from wire import Frame, Response

MIB = 1024 * 1024
TOKEN = "x" * 131_072
SEND_TIMEOUT_SECONDS = 1


@pytest.fixture(scope="module")
def impatient(start_server: RunningServer) -> Server:
    """A server that gives a reader one second to take a write, and whose heart beats twice a second."""
    return start_server(
        GRAPHWIRE_SEND_TIMEOUT_SECONDS=str(SEND_TIMEOUT_SECONDS), GRAPHWIRE_HEARTBEAT_SECONDS="0.5"
    )


def start_large(server: Server, tokens: int = 48) -> Response:
    """A run of so many tokens of 128 kB; its first client takes next to nothing."""
    graph_input = {"texts": [json.dumps("x")] * tokens, "times": len(TOKEN)}
    body = {"assistant_id": "texts", "input": graph_input, "stream_mode": "messages-tuple"}
    path = f"/threads/{server.new_thread()}/runs/stream"
    return server.request("POST", path, body, receive_bytes=4096)


def location_of(response: Response) -> str:
    return response.header("location") or ""


def tokens_in(frames: list[Frame]) -> int:
    contents = [frame.data[0]["content"] for frame in frames if frame.event == "messages"]
    assert all(content in (TOKEN, "") for content in contents)
    return contents.count(TOKEN)


def let_the_send_timeout_pass(server: Server, gate: Gate) -> None:
    """The heartbeats of a quiet stream are our clock."""
    quiet = server.stream("gate", gate.input())
    for chunk in quiet.chunks():
        quiet.frames_seen.feed(chunk)
        if quiet.frames_seen.heartbeats * 0.5 > 2 * SEND_TIMEOUT_SECONDS:
            break
    quiet.reset()


def test_a_run_ends_though_its_client_does_not_read(server: Server) -> None:
    stalled = start_large(server)
    assert tokens_in(server.join(location_of(stalled), "-1").rest()) == 48
    assert server.get(run_of(stalled))["status"] == "success"
    stalled.reset()


def test_eight_stalled_readers_share_one_log(server: Server) -> None:
    first = start_large(server)
    assert tokens_in(server.join(location_of(first), "-1").rest()) == 48
    before = server.resident_bytes()
    stalled = [server.join(location_of(first), "-1", receive_bytes=4096) for _ in range(8)]
    assert tokens_in(server.join(location_of(first), "-1").rest()) == 48
    assert server.resident_bytes() - before < 40 * MIB
    for reader in (first, *stalled):
        reader.reset()


def test_a_stream_of_ten_megabytes_can_be_replayed(server: Server) -> None:
    first = start_large(server, tokens=80)
    location = location_of(first)
    live = server.join(location, "-1").rest()
    assert tokens_in(live) == 80
    assert [frame.id for frame in server.join(location, "-1").rest()] == [frame.id for frame in live]
    first.reset()


def test_a_reader_that_takes_nothing_gets_a_body_that_is_cut(impatient: Server, gate: Gate) -> None:
    stalled = start_large(impatient)
    let_the_send_timeout_pass(impatient, gate)
    frames = stalled.rest()
    assert stalled.ended_by in ("cut", "reset")
    assert tokens_in(frames) < 48


def test_a_reader_that_takes_nothing_holds_no_connection_of_the_server(impatient: Server, gate: Gate) -> None:
    stalled = [start_large(impatient) for _ in range(4)]
    assert impatient.connections() >= len(stalled)
    let_the_send_timeout_pass(impatient, gate)
    assert eventually(lambda: impatient.connections() == 0)
    for reader in stalled:
        reader.reset()


def test_a_reader_that_was_too_slow_can_go_on_where_it_was_cut(impatient: Server, gate: Gate) -> None:
    stalled = start_large(impatient)
    let_the_send_timeout_pass(impatient, gate)
    taken = stalled.rest()
    rest = impatient.join(location_of(stalled), taken[-1].id if taken else "-1").rest()
    assert tokens_in(taken) + tokens_in(rest) == 48


def test_the_log_has_no_traceback_for_a_reader_that_was_too_slow(impatient: Server, gate: Gate) -> None:
    before = len(impatient.log)
    stalled = start_large(impatient)
    let_the_send_timeout_pass(impatient, gate)
    assert "Traceback" not in impatient.log[before:]
    stalled.reset()


def test_a_quiet_run_does_not_make_its_reader_slow(impatient: Server, gate: Gate) -> None:
    graph_input = gate.input()
    stream = impatient.stream("gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    let_the_send_timeout_pass(impatient, gate)
    node.say("still here")
    assert stream.next("messages").data[0]["content"] == "still here"
    node.finish()
    stream.rest()
