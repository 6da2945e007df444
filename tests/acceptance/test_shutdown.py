"""A server that is told to stop: streams of unfinished runs are cut, never ended as if all had been said."""

import signal

import pytest
from fix_gate import Gate, Node
from fix_server import RunningServer, Server
from wire import Response


def stopping(server: Server, gate: Gate) -> tuple[Response, Node]:
    """A stream in the middle of its run, on a server that has just been asked to stop."""
    graph_input = gate.input()
    stream = server.stream("gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    node.say("half ")
    assert stream.next("messages").data[0]["content"] == "half "
    server.process.send_signal(signal.SIGTERM)
    return stream, node


@pytest.fixture
def hasty(start_server: RunningServer) -> Server:
    """A server that gives running runs no time."""
    return start_server(BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="0")


def test_the_stream_of_a_run_that_is_left_unfinished_is_cut(hasty: Server, gate: Gate) -> None:
    stream, _ = stopping(hasty, gate)
    stream.rest()
    assert stream.ended_by in ("cut", "reset")
    assert hasty.process.wait(timeout=30) == 0


def test_a_run_that_ends_within_the_grace_is_streamed_to_its_end(
    start_server: RunningServer, gate: Gate
) -> None:
    server = start_server(BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="20")
    stream, node = stopping(server, gate)
    node.say("whole")
    node.finish()
    contents = [frame.data[0]["content"] for frame in stream.rest() if frame.event == "messages"]
    assert server.process.wait(timeout=15) == 0
    assert (contents, stream.ended_by) == (["whole", ""], "last chunk")
