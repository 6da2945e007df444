"""Deleting runs: what they did is undone, and thread, state and history say the same."""

import uuid

from fix_gate import Gate
from fix_server import Server, run_of


def ended(server: Server, thread: str, topic: str) -> str:
    """The path of a run of the joke graph that has ended."""
    stream = server.stream("joke", {"topic": topic}, thread)
    stream.rest()
    return run_of(stream)


def delete(server: Server, path: str) -> int:
    response = server.request("DELETE", path)
    response.body()
    return response.status


def test_the_thread_shows_what_was_before_the_deleted_run(server: Server) -> None:
    thread = server.new_thread()
    ended(server, thread, "ice")
    before = server.get(f"/threads/{thread}")
    second = ended(server, thread, "fire")
    assert delete(server, second) == 204
    after = server.get(f"/threads/{thread}")
    assert {key: after[key] for key in ("values", "status", "error", "interrupts")} == {
        key: before[key] for key in ("values", "status", "error", "interrupts")
    }
    assert server.get(f"/threads/{thread}/state")["values"] == before["values"]
    assert server.request("GET", second).status == 404


def test_the_thread_of_a_deleted_only_run_is_empty(server: Server) -> None:
    thread = server.new_thread()
    run = ended(server, thread, "ice")
    assert delete(server, run) == 204
    found = server.get(f"/threads/{thread}")
    assert (found["values"], found["status"]) == (None, "idle")
    assert server.get(f"/threads/{thread}/state")["values"] == {}


def test_deleting_an_older_run_leaves_the_state_of_the_newer(server: Server) -> None:
    thread = server.new_thread()
    first = ended(server, thread, "ice")
    ended(server, thread, "fire")
    before = server.get(f"/threads/{thread}")
    assert delete(server, first) == 204
    assert server.get(f"/threads/{thread}") == before


def test_a_deleted_failure_takes_its_error_along(server: Server) -> None:
    thread = server.new_thread()
    ended(server, thread, "ice")
    stream = server.stream("boom", {"how": "plain"}, thread)
    stream.rest()
    assert server.get(f"/threads/{thread}")["status"] == "error"
    assert delete(server, run_of(stream)) == 204
    found = server.get(f"/threads/{thread}")
    assert (found["status"], found["error"]) == ("idle", None)


def test_a_deleted_answer_brings_the_question_back(server: Server) -> None:
    thread = server.new_thread()
    server.wait("intr", {"x": 1}, thread)
    before = server.get(f"/threads/{thread}")
    assert before["status"] == "interrupted"
    answer = server.stream("intr", None, thread, command={"resume": "yes"})
    answer.rest()
    assert delete(server, run_of(answer)) == 204
    after = server.get(f"/threads/{thread}")
    assert (after["status"], after["interrupts"]) == ("interrupted", before["interrupts"])
    assert "ask:no" in server.wait("intr", None, thread, command={"resume": "no"})["log"]


def test_a_rolled_back_answer_brings_the_question_back(server: Server, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    server.wait("held_asking", graph_input, thread)
    before = server.get(f"/threads/{thread}")
    left = server.stream("held_asking", None, thread, command={"resume": "left"})
    gate.node(graph_input)
    right = server.stream(
        "held_asking", None, thread, command={"resume": "right"}, multitask_strategy="rollback"
    )
    assert left.rest()[-1].data["outcome"] == "rolled_back"
    gate.node(graph_input).finish()
    right.rest()
    (message,) = server.get(f"/threads/{thread}")["values"]["messages"]
    assert message["content"] == "right: "
    assert before["status"] == "interrupted"


def test_a_cancel_with_rollback_of_an_answer_leaves_the_question(server: Server, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    server.wait("held_asking", graph_input, thread)
    before = server.get(f"/threads/{thread}")
    answer = server.stream("held_asking", None, thread, command={"resume": "left"})
    gate.node(graph_input)
    server.post(f"{run_of(answer)}/cancel?wait=1&action=rollback")
    after = server.get(f"/threads/{thread}")
    assert (after["status"], after["interrupts"]) == ("interrupted", before["interrupts"])
    assert server.get(f"/threads/{thread}/state")["interrupts"] != []


def test_a_deleted_answer_to_the_second_question_leaves_the_second(server: Server) -> None:
    thread = server.new_thread()
    server.wait("quiz", {"questions": 2}, thread)
    first = server.stream("quiz", None, thread, command={"resume": "a"})
    first.rest()
    second = server.get(f"/threads/{thread}")
    answer = server.stream("quiz", None, thread, command={"resume": "b"})
    answer.rest()
    assert server.get(f"/threads/{thread}")["status"] == "idle"
    assert delete(server, run_of(answer)) == 204
    assert server.get(f"/threads/{thread}")["interrupts"] == second["interrupts"]
    assert delete(server, run_of(first)) == 204
    (asked,) = server.get(f"/threads/{thread}/state")["interrupts"]
    assert asked["value"] == {"question": 0}


def test_a_running_run_is_stopped_and_gone(server: Server, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    stream = server.stream("gate", graph_input, thread)
    node = gate.node(graph_input)
    assert delete(server, run_of(stream)) == 204
    assert node.hear() == "cancelled"
    assert stream.rest()[-1].data["outcome"] == "rolled_back"
    assert server.request("GET", run_of(stream)).status == 404
    assert server.get(f"/threads/{thread}")["status"] == "idle"
    assert server.get(f"/threads/{thread}/runs") == []


def test_a_waiting_run_is_gone_and_the_running_one_goes_on(server: Server, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    first = server.stream("gate", graph_input, thread)
    node = gate.node(graph_input)
    waiting = server.stream("joke", {"topic": "ice"}, thread)
    assert delete(server, run_of(waiting)) == 204
    assert server.get(f"/threads/{thread}")["status"] == "busy"
    node.finish()
    first.rest()
    assert server.get(f"/threads/{thread}")["status"] == "idle"


def test_an_unknown_run_is_not_found(server: Server) -> None:
    thread = server.new_thread()
    response = server.request("DELETE", f"/threads/{thread}/runs/{uuid.uuid4()}")
    assert (response.status, response.json()["detail"]) == (404, "Run not found")


def test_a_run_of_another_thread_is_not_found(server: Server) -> None:
    run = ended(server, server.new_thread(), "ice")
    other = server.new_thread()
    assert delete(server, f"/threads/{other}/runs/{run.rpartition('/')[2]}") == 404
    assert server.get(run)["status"] == "success"
