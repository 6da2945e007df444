"""`get_client()` without a URL: graphs that call the server they run in."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fix_gate import Gate
from fix_server import RunningServer, Server, run_of, spawn

WAYS = [
    "in_node",
    "by_module",
    "in_sync_node",
    "in_sync_node_by_module",
    "in_plain_thread",
    "in_subgraph",
    "by_remote_graph",
    "by_stream",
    "on_thread",
]
JOKE = {"topic": "ice", "joke": "Why ice? Ha!"}


def nested(way: str, graph: str, graph_input: Any, **more: Any) -> dict[str, Any]:
    """The input of a graph that calls another one."""
    return {"way": way, "graph": graph, "input": graph_input, **more}


@pytest.fixture(scope="module")
def single(start_server: RunningServer) -> Server:
    """A server that executes one run at a time."""
    return start_server(N_JOBS_PER_WORKER="1")


# ------------------------------------------------------------------------------------------ every way


@pytest.mark.parametrize("way", WAYS)
def test_a_graph_gets_the_result_of_another_one(server: Server, way: str) -> None:
    assert server.wait("nested", nested(way, "joke", {"topic": "ice"}))["out"] == JOKE


def test_tools_may_call_graphs(server: Server) -> None:
    assert server.wait("nested", nested("by_tool", "joke", {"topic": "ice"}))["out"] == [str(JOKE)] * 2


def test_a_token_reaches_the_outer_stream_while_the_inner_model_is_still_speaking(
    server: Server, gate: Gate
) -> None:
    inner = gate.input()
    stream = server.stream("nested", nested("by_stream", "gate", inner), stream_mode="custom")
    node = gate.node(inner)
    for word in ("one", "two", "three"):
        node.say(word)
        assert stream.next("custom").data == word  # only now is the next one said
    node.finish()
    stream.rest()
    assert server.get(run_of(stream))["status"] == "success"


def test_what_the_inner_graph_streams_is_not_the_outer_graphs_own(server: Server) -> None:
    """It is another run, though it was started from within a node."""
    stream = server.stream(
        "nested", nested("in_node", "chat", {"messages": "hi"}), stream_mode=["messages-tuple", "events"]
    )
    events = stream.rest()
    assert [frame for frame in events if frame.event == "messages"] == []
    models = [frame for frame in events if frame.event == "events" and "chat_model" in frame.data["event"]]
    assert models == []


def test_a_failure_of_the_inner_graph_is_one_of_the_outer(server: Server) -> None:
    stream = server.stream("nested", nested("in_node", "boom", {"how": "first"}))
    error = stream.rest()[-1]
    assert error.event == "error"
    assert server.get(run_of(stream))["status"] == "error"
    assert "ValueError: first node failed" in server.log


def test_a_refusal_is_raised_where_it_was_caused(server: Server) -> None:
    stream = server.stream("nested", nested("in_node", "nobody", {}))
    assert stream.rest()[-1].data["error"] == "HTTPStatusError"


# ------------------------------------------------------------------------------------------ leaving


def test_a_cancelled_run_leaves_the_stream_it_reads(server: Server, gate: Gate) -> None:
    inner = gate.input()
    stream = server.stream("nested", nested("in_node", "gate", inner, options={"on_disconnect": "cancel"}))
    node = gate.node(inner)
    server.post(f"{run_of(stream)}/cancel")
    assert node.hear() == "cancelled"
    stream.rest()
    assert server.get(run_of(stream))["status"] == "interrupted"


def test_the_inner_run_goes_on_if_it_was_not_told_otherwise(server: Server, gate: Gate) -> None:
    thread, inner = server.new_thread(), gate.input()
    outer = server.stream("nested", nested("by_stream", "gate", inner), thread)
    node = gate.node(inner)
    server.post(f"{run_of(outer)}/cancel?wait=1")
    node.say("still here")
    node.finish()
    assert node.hear() == ""  # it ended by itself, not cancelled
    outer.rest()


def test_a_slow_reader_is_cut_off_and_then_gets_the_rest(start_server: RunningServer, gate: Gate) -> None:
    """The bound on what waits for a reader holds, and the SDK comes back by `Location`."""
    server = start_server(GRAPHWIRE_SEND_TIMEOUT_SECONDS="0.2", GRAPHWIRE_HEARTBEAT_SECONDS="0.1")
    held = gate.input()
    stream = server.stream("nested", nested("by_slow_stream", "flood", {"count": 1000}, **held))
    node = gate.node(held)
    quiet = server.stream("gate", gate.input())
    while "cut off a reader" not in server.log:
        next(quiet.chunks())  # heartbeats: our clock
    node.finish()
    assert stream.rest()[-1].data["out"] == 1000
    quiet.reset()


# ------------------------------------------------------------------------------------------ slots


@pytest.mark.parametrize("way", WAYS)
def test_three_graphs_deep_need_no_more_than_one_slot(single: Server, way: str) -> None:
    deep = nested(way, "nested", nested(way, "nested", nested(way, "joke", {"topic": "ice"})))
    assert single.wait("nested", deep)["out"]["out"]["out"] == JOKE


def test_more_answers_than_slots_are_waited_for_at_once(single: Server) -> None:
    state = nested("many_at_once", "nested", nested("in_sync_node", "joke", {"topic": "ice"}), count=5)
    assert [found["out"] for found in single.wait("nested", state)["out"]] == [JOKE] * 5


def test_fifty_graphs_that_call_others_share_two_slots(start_server: RunningServer) -> None:
    server = start_server(N_JOBS_PER_WORKER="2")

    def call(number: int) -> Any:
        way = WAYS[number % len(WAYS)]
        return server.wait("nested", nested(way, "joke", {"topic": str(number)}), thread=None)["out"]["topic"]

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(call, range(50))) == [str(number) for number in range(50)]


def test_a_slot_is_lent_only_while_its_run_waits(single: Server, gate: Gate) -> None:
    inner, other = gate.input(), gate.input()
    outer = single.stream("nested", nested("in_node", "gate", inner))
    node = gate.node(inner)
    waiting = single.stream("gate", other)
    assert single.get(run_of(waiting))["status"] == "pending"  # the one slot is with the inner run
    node.finish()
    outer.rest()
    gate.node(other).finish()
    waiting.rest()


# ------------------------------------------------------------------------------------------ around it


def test_a_run_may_call_others_while_the_server_stops(start_server: RunningServer, gate: Gate) -> None:
    """No other run begins any more, but what this one waits for does: else it could not come to its end."""
    server = start_server(BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="20")
    held = gate.input()
    stream = server.stream("nested", nested("when_told", "joke", {"topic": "ice"}, **held))
    node = gate.node(held)
    server.process.send_signal(signal.SIGTERM)
    while server.request("GET", "/ok").status != 503:
        pass
    node.finish()
    assert stream.rest()[-1].data["out"] == JOKE
    assert server.process.wait(timeout=15) == 0


def test_an_installed_langgraph_api_is_not_touched(start_server: RunningServer, tmp_path: Path) -> None:
    package = tmp_path / "langgraph_api"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('it was imported')")
    server = start_server(launch=spawn, PYTHONPATH=str(tmp_path))
    assert server.wait("nested", nested("by_module", "joke", {"topic": "ice"}))["out"] == JOKE


def test_graphs_share_a_cache(server: Server) -> None:
    seen = server.wait("caching", {"key": str(uuid4())})["out"]
    assert seen[:2] == [None, {"a": [1]}]
    (miss, first), (fresh, again) = seen[2:4]
    assert (miss, fresh) == ("miss", "fresh")
    assert again == first
    assert seen[4:] == [7, 7]
