"""What open streams of protocol v2 cost: readers hold a cursor, not a queue (issue 6: at most 60 kB each)."""

import wire
from fix_gate import Gate
from fix_server import RunningServer, Server
from fix_v2 import begin, checked, endings, new_id, of, replay, run, subscribe, until, watching

KIB = 1024
TABS = 200
WORDS = {"n": 400}


def opened(server: Server, thread: str, channels: list[str]) -> wire.Response:
    """A stream that has replayed what there is."""
    response = subscribe(server, thread, channels)
    frames = checked(response.frames())
    until(frames)
    return response


def test_an_open_stream_takes_little_memory(start_server: RunningServer) -> None:
    server = start_server()
    thread = new_id()
    run(server, "slow", WORDS, thread)
    for _ in range(3):  # what the first ones load stays
        opened(server, thread, ["messages", "values", "lifecycle"]).reset()
    before = server.resident_bytes()
    streams = [opened(server, thread, ["messages", "values", "lifecycle"]) for _ in range(TABS)]
    each = (server.resident_bytes() - before) / TABS
    assert each <= 60 * KIB
    for stream in streams:
        stream.reset()


def test_streams_of_a_run_that_speaks_take_little_memory(start_server: RunningServer, gate: Gate) -> None:
    server = start_server()
    held, thread = gate.input(), new_id()
    begin(server, thread, "gate", held)
    node = gate.node(held)
    for number in range(300):
        node.say(f"word {number} ")
    with watching(server, thread, ["messages"]) as events:
        until(events, lambda event: "word 299" in str(event["params"]["data"]))
        before = server.resident_bytes()
        streams = [subscribe(server, thread, ["messages", "lifecycle"]) for _ in range(TABS)]
        readers = [checked(stream.frames()) for stream in streams]
        for reader in readers:
            until(reader, lambda event: "word 299" in str(event["params"]["data"]))
        each = (server.resident_bytes() - before) / TABS
    assert each <= 60 * KIB
    node.finish()
    for reader in readers:
        assert endings(until(reader)) == ["completed"]
    for stream in streams:
        stream.reset()


def test_a_reader_that_does_not_read_is_cut_off_and_comes_back(
    start_server: RunningServer, gate: Gate
) -> None:
    server = start_server(GRAPHWIRE_SEND_TIMEOUT_SECONDS="0.5")
    thread = new_id()
    with_much = {"messages": [{"role": "user", "content": "x" * 300_000}]}
    lazy = server.request(
        "POST", f"/threads/{thread}/stream/events", {"channels": ["values"]}, receive_bytes=4096
    )
    for _ in range(8):  # each state holds all messages before: 50 MB, more than a socket keeps
        run(server, "chat", with_much, thread)
    held = gate.input()
    begin(server, new_id(), "gate", held)
    node = gate.node(held)
    seen = b"".join(lazy.chunks())
    assert lazy.ended_by in ("cut", "reset")
    node.finish()
    events = replay(server, thread, runs=8, channels=["values", "lifecycle"])
    assert len(of(events, "values")) > seen.count(b"event: values")
