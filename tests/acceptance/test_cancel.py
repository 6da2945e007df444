"""Stopping a run: what is answered, what stops, what readers see, what stays."""

import pytest
import wire
from fix_gate import Gate, Node
from fix_server import Server, run_of

UNKNOWN = "00000000-0000-0000-0000-000000000001"


class Running:
    """A run that a test holds in its hands."""

    def __init__(self, server: Server, gate: Gate, graph: str = "gate", **more: object) -> None:
        self.thread = server.new_thread()
        self.input = gate.input(**more)
        self.stream = server.stream(graph, self.input, self.thread, stream_mode="messages-tuple")
        self.run = run_of(self.stream)
        self.node: Node = gate.node(self.input)


@pytest.fixture
def running(server: Server, gate: Gate) -> Running:
    return Running(server, gate)


def queued(server: Server, running: Running) -> wire.Response:
    """Another run of the same thread, which waits its turn."""
    return server.stream("joke", {"topic": "ice"}, running.thread)


def cancel(server: Server, run: str, query: str = "") -> wire.Response:
    return server.request("POST", f"{run}/cancel{query}")


# ---------------------------------------------------------------- answers
def test_cancel_answers_202_with_no_body(server: Server, running: Running) -> None:
    answer = cancel(server, running.run)
    assert (answer.status, answer.body()) == (202, b"")


@pytest.mark.parametrize("wait", ["1", "true"])
def test_cancel_with_wait_answers_200_with_an_empty_object(
    server: Server, running: Running, wait: str
) -> None:
    answer = cancel(server, running.run, f"?wait={wait}")
    assert (answer.status, answer.json()) == (200, {})


@pytest.mark.parametrize("wait", ["0", "false"])
def test_cancel_with_wait_off_answers_202(server: Server, running: Running, wait: str) -> None:
    assert cancel(server, running.run, f"?wait={wait}").status == 202


def test_cancel_of_a_waiting_run_answers_202(server: Server, running: Running) -> None:
    assert cancel(server, run_of(queued(server, running))).status == 202


def test_cancel_of_a_finished_run_is_404(server: Server) -> None:
    stream = server.stream("joke", {"topic": "ice"})
    stream.rest()
    answer = cancel(server, run_of(stream))
    assert answer.status == 404
    assert "No matching runs to cancel" in answer.json()["detail"]


def test_a_second_cancel_is_404(server: Server, running: Running) -> None:
    cancel(server, running.run, "?wait=1").body()
    assert cancel(server, running.run).status == 404


def test_cancel_of_an_unknown_run_is_404(server: Server, running: Running) -> None:
    assert cancel(server, f"/threads/{running.thread}/runs/{UNKNOWN}").status == 404


# ---------------------------------------------------------------- what stops, and what stays
def test_the_node_is_stopped(server: Server, running: Running) -> None:
    cancel(server, running.run).body()
    assert running.node.hear() == "cancelled"


def test_the_run_is_interrupted_at_once(server: Server, running: Running) -> None:
    cancel(server, running.run).body()
    assert server.get(running.run)["status"] == "interrupted"


def test_the_thread_is_interrupted_where_a_node_was_left_undone(server: Server, running: Running) -> None:
    cancel(server, running.run, "?wait=1").body()
    thread = server.get(f"/threads/{running.thread}")
    assert thread["status"] == "interrupted"
    assert server.get(f"/threads/{running.thread}/state")["next"] == ["speak"]


def test_a_cancelled_run_leaves_its_finished_steps_and_can_go_on(server: Server, gate: Gate) -> None:
    running = Running(server, gate)
    running.node.say("half ")
    cancel(server, running.run, "?wait=1").body()
    again = server.stream("gate", None, running.thread)
    gate.node(running.input).finish()
    assert again.rest()[-1].data["done"] is True


def test_a_waiting_run_never_starts_after_its_cancel(server: Server, running: Running) -> None:
    waiting = queued(server, running)
    cancel(server, run_of(waiting), "?wait=1").body()
    running.node.finish()
    running.stream.rest()
    assert [frame.data["outcome"] for frame in waiting.rest()] == ["interrupted"]
    assert server.get(run_of(waiting))["status"] == "interrupted"
    assert "joke" not in server.get(f"/threads/{running.thread}/state")["values"]


def test_cancel_of_a_waiting_run_leaves_the_running_one_alone(server: Server, running: Running) -> None:
    cancel(server, run_of(queued(server, running)), "?wait=1").body()
    assert server.get(f"/threads/{running.thread}")["status"] == "busy"
    running.node.say("still here")
    assert running.stream.next("messages").data[0]["content"] == "still here"


def test_the_next_run_of_the_thread_starts_after_a_cancel(server: Server, running: Running) -> None:
    waiting = queued(server, running)
    cancel(server, running.run).body()
    assert waiting.rest()[-1].data["joke"] == "Why ice? Ha!"


# ---------------------------------------------------------------- readers
def test_the_streams_of_all_readers_end(server: Server, running: Running) -> None:
    joiners = [server.join(f"{running.run}/stream") for _ in range(3)]
    cancel(server, running.run).body()
    for reader in (running.stream, *joiners):
        reader.rest()
        assert reader.ended_by == "last chunk"


def test_what_was_spoken_before_the_cancel_is_still_delivered(server: Server, running: Running) -> None:
    running.node.say("half ")
    assert running.stream.next("messages").data[0]["content"] == "half "
    cancel(server, running.run).body()
    (told,) = running.stream.rest()
    assert (told.event, told.data["outcome"]) == ("metadata", "interrupted")


def test_a_client_that_waits_gets_the_present_values(server: Server, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    body = {"assistant_id": "gate", "input": graph_input}
    waiting = server.request("POST", f"/threads/{thread}/runs/wait", body)
    gate.node(graph_input)
    cancel(server, run_of(waiting)).body()
    assert waiting.json()["key"] == graph_input["key"]


def test_the_stream_of_a_cancelled_waiting_run_ends(server: Server, running: Running) -> None:
    waiting = queued(server, running)
    cancel(server, run_of(waiting)).body()
    assert [frame.data["outcome"] for frame in waiting.rest()] == ["interrupted"]
    assert waiting.ended_by == "last chunk"


# ---------------------------------------------------------------- code that does not listen
def test_a_blocked_sync_node_does_not_delay_the_cancel(server: Server, gate: Gate) -> None:
    running = Running(server, gate, "gate_sync")
    cancel(server, running.run, "?wait=1").body()  # the node is still held
    assert server.get(running.run)["status"] == "interrupted"
    running.stream.rest()


def test_the_result_of_a_blocked_sync_node_is_discarded(server: Server, gate: Gate) -> None:
    running = Running(server, gate, "gate_sync")
    cancel(server, running.run, "?wait=1").body()
    running.node.say("too late")
    running.node.finish()
    assert running.node.hear() == ""  # the node is over
    assert "out" not in server.get(f"/threads/{running.thread}/state")["values"]
    assert server.get(running.run)["status"] == "interrupted"


def test_a_thread_with_a_blocked_sync_node_takes_its_next_run_after_the_cancel(
    server: Server, gate: Gate
) -> None:
    running = Running(server, gate, "gate_sync")
    cancel(server, running.run, "?wait=1").body()
    assert server.wait("joke", {"topic": "ice"}, running.thread)["joke"] == "Why ice? Ha!"


def test_a_node_that_swallows_its_cancel_does_not_change_the_thread(server: Server, gate: Gate) -> None:
    running = Running(server, gate, stubborn=True)
    cancel(server, running.run, "?wait=1").body()
    again = gate.node(running.input)  # it called the model once more instead of stopping
    again.say("finished anyway")
    again.finish()
    again.hear()
    assert server.get(running.run)["status"] == "interrupted"
    assert server.get(f"/threads/{running.thread}")["status"] != "busy"
    assert "out" not in server.get(f"/threads/{running.thread}")["values"]


# ---------------------------------------------------------------- rollback
def test_rollback_removes_the_run(server: Server, running: Running) -> None:
    assert cancel(server, running.run, "?action=rollback&wait=1").json() == {}
    assert server.request("GET", running.run).status == 404


def test_rollback_brings_back_the_state_from_before_the_run(server: Server, gate: Gate) -> None:
    thread, first_input, second_input = server.new_thread(), gate.input(), gate.input()
    first = server.stream("gate", first_input, thread)
    gate.node(first_input).finish()
    first.rest()
    before = server.get(f"/threads/{thread}/state")
    second = server.stream("gate", second_input, thread, durability="sync")
    gate.node(second_input)
    assert server.get(f"/threads/{thread}/state")["values"]["key"] == second_input["key"]
    cancel(server, run_of(second), "?action=rollback&wait=1").body()
    second.rest()
    after = server.get(f"/threads/{thread}/state")
    assert after["values"] == before["values"]
    assert after["checkpoint"] == before["checkpoint"]
    assert server.get(f"/threads/{thread}")["values"] == before["values"]


def test_rollback_leaves_the_thread_idle(server: Server, running: Running) -> None:
    cancel(server, running.run, "?action=rollback").body()
    running.stream.rest()
    assert server.get(f"/threads/{running.thread}")["status"] == "idle"


def test_the_stream_of_a_rolled_back_run_ends(server: Server, running: Running) -> None:
    cancel(server, running.run, "?action=rollback").body()
    running.stream.rest()
    assert running.stream.ended_by == "last chunk"


# ---------------------------------------------------------------- runs that make way for others
@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
def test_a_new_run_can_push_a_running_one_aside(server: Server, running: Running, strategy: str) -> None:
    values = server.wait("joke", {"topic": "ice"}, running.thread, multitask_strategy=strategy)
    assert values["joke"] == "Why ice? Ha!"
    running.stream.rest()
    assert running.stream.ended_by == "last chunk"


def test_a_new_run_waits_for_the_running_one_by_default(server: Server, running: Running) -> None:
    second, third = queued(server, running), queued(server, running)
    assert [server.get(run_of(run))["status"] for run in (second, third)] == ["pending", "pending"]
    running.node.finish()
    first_seen, second_seen = second.rest(), third.rest()
    assert first_seen[-1].order < second_seen[-1].order
    assert server.get(run_of(third))["status"] == "success"


def test_a_busy_thread_is_409_for_a_run_that_rejects(server: Server, running: Running) -> None:
    body = {"assistant_id": "joke", "input": {"topic": "ice"}, "multitask_strategy": "reject"}
    answer = server.request("POST", f"/threads/{running.thread}/runs/stream", body)
    assert answer.status == 409
    assert "already running" in answer.json()["detail"]
