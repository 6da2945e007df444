"""What a model had said when its run was cancelled: kept in the thread when somebody asks for it."""

from typing import Any

import pytest
from fix_gate import Gate
from fix_server import RunningServer, Server, run_of
from wire import Response

MARK = {"partial": True, "finish_reason": "cancelled"}


def until(stream: Response, text: str) -> None:
    """Read on until a token came."""
    while not (frame := stream.next_frame()).event.startswith("messages") or frame.data[0]["content"] != text:
        pass


def cancelled(server: Server, gate: Gate, query: str, graph: str = "held", **fields: Any) -> dict[str, Any]:
    """The thread of a run that was cancelled in the middle of an answer."""
    thread, graph_input = server.new_thread(), gate.input(messages=[{"role": "user", "content": "hi"}])
    fields = {"stream_mode": "messages-tuple", **fields}
    stream = server.stream(graph, graph_input, thread, **fields)
    node = gate.node(graph_input)
    node.say("half ")
    node.say("of it")
    until(stream, "of it")
    server.post(f"{run_of(stream)}/cancel?wait=1{query}")
    stream.rest()
    found: dict[str, Any] = server.get(f"/threads/{thread}")
    return found


def test_a_partial_answer_is_kept_and_marked(server: Server, gate: Gate) -> None:
    thread = cancelled(server, gate, "&keep_partial=true")
    asked, answer = thread["values"]["messages"]
    assert (asked["content"], answer["content"], answer["type"]) == ("hi", "half of it", "ai")
    assert answer["response_metadata"].items() >= MARK.items()
    assert thread["status"] == "idle"
    assert server.get(f"/threads/{thread['thread_id']}/state")["values"] == thread["values"]


def test_by_default_nothing_is_kept(server: Server, gate: Gate) -> None:
    thread = cancelled(server, gate, "")
    assert [message["content"] for message in thread["values"]["messages"]] == ["hi"]
    assert thread["status"] == "interrupted"


def test_a_conversation_goes_on_after_a_partial_answer(server: Server, gate: Gate) -> None:
    thread = cancelled(server, gate, "&keep_partial=1")["thread_id"]
    graph_input = gate.input(messages=[{"role": "user", "content": "go on"}])
    stream = server.stream("held", graph_input, thread)
    node = gate.node(graph_input)
    node.say("the rest")
    node.finish()
    stream.rest()
    found = server.get(f"/threads/{thread}")["values"]["messages"]
    assert [message["content"] for message in found] == ["hi", "half of it", "go on", "the rest"]


def test_an_answer_within_a_subgraph_is_kept(server: Server, gate: Gate) -> None:
    thread = cancelled(server, gate, "&keep_partial=1", "held_outer", stream_subgraphs=True)
    assert thread["values"]["messages"][-1]["content"] == "half of it"


def test_the_accumulating_mode_serves_as_well(server: Server, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input(messages=[])
    stream = server.stream("held", graph_input, thread, stream_mode="messages")
    gate.node(graph_input).say("half")
    assert stream.next("messages/partial").data[0]["content"] == "half"
    server.post(f"{run_of(stream)}/cancel?wait=1&keep_partial=1")
    assert server.get(f"/threads/{thread}")["values"]["messages"][-1]["content"] == "half"


def test_a_finished_answer_is_not_kept_twice(server: Server, gate: Gate) -> None:
    """The model has ended, the node that calls it goes on."""
    thread, graph_input = server.new_thread(), gate.input(messages=[])
    stream = server.stream("held_twice", graph_input, thread, stream_mode="messages-tuple")
    first = gate.node(graph_input)
    first.say("whole")
    first.finish()
    second = gate.node(graph_input)
    second.say("half")
    until(stream, "half")
    server.post(f"{run_of(stream)}/cancel?wait=1&keep_partial=1")
    found = server.get(f"/threads/{thread}")["values"]["messages"]
    assert [message["content"] for message in found] == ["whole", "half"]


@pytest.fixture(scope="module")
def keeping(start_server: RunningServer) -> Server:
    return start_server(GRAPHWIRE_KEEP_PARTIAL_ANSWERS="true")


def test_the_operator_may_have_all_of_them_kept(keeping: Server, gate: Gate) -> None:
    assert cancelled(keeping, gate, "")["values"]["messages"][-1]["content"] == "half of it"


def test_the_caller_may_decline(keeping: Server, gate: Gate) -> None:
    thread = cancelled(keeping, gate, "&keep_partial=false")
    assert [message["content"] for message in thread["values"]["messages"]] == ["hi"]


def test_a_client_that_goes_away_leaves_the_partial_answer(keeping: Server, gate: Gate) -> None:
    thread, graph_input = keeping.new_thread(), gate.input(messages=[])
    fields = {"stream_mode": "messages-tuple", "on_disconnect": "cancel"}
    stream = keeping.stream("held", graph_input, thread, **fields)
    node = gate.node(graph_input)
    node.say("half")
    stream.next("messages")
    run = run_of(stream)
    stream.reset()
    assert node.hear() == "cancelled"
    keeping.get(f"{run}/join")
    assert keeping.get(f"/threads/{thread}")["values"]["messages"][-1]["content"] == "half"


def test_a_rollback_keeps_nothing(server: Server, gate: Gate) -> None:
    response = server.request(
        "POST", f"/threads/{server.new_thread()}/runs/x/cancel?action=rollback&keep_partial=1"
    )
    assert response.status == 422
