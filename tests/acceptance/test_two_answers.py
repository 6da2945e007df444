"""An interrupt takes one answer: of two that are given together one wins and the other is told."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Barrier
from typing import Any

import pytest
import wire
from fix_gate import Gate
from fix_server import Server

KINDS = ["create", "stream", "wait"]
TRIES = 10


def answer(
    server: Server, thread: str, graph: str, resume: Any, kind: str = "create", **fields: Any
) -> wire.Response:
    path = f"/threads/{thread}/runs" + ("" if kind == "create" else f"/{kind}")
    body = {"assistant_id": graph, "command": {"resume": resume}, **fields}
    return server.request("POST", path, body)


def together(
    server: Server, thread: str, graph: str, answers: list[Any], kinds: tuple[str, ...] = ()
) -> list[wire.Response]:
    """Answers that are given in the same moment."""
    start = Barrier(len(answers))

    def give(number: int) -> wire.Response:
        start.wait()
        return answer(server, thread, graph, answers[number], kinds[number] if kinds else "create")

    with ThreadPoolExecutor(len(answers)) as pool:
        return list(pool.map(give, range(len(answers))))


def asked(server: Server, graph: str, graph_input: Any) -> tuple[str, list[str]]:
    """A thread whose graph waits for answers, and the ids of its questions."""
    thread = server.new_thread()
    values = server.wait(graph, graph_input, thread)
    return thread, [question["id"] for question in values["__interrupt__"]]


def log_of(server: Server, thread: str) -> list[str]:
    return list(server.get(f"/threads/{thread}/state")["values"]["log"])


def runs_of(server: Server, thread: str) -> list[str]:
    return [run["run_id"] for run in server.get(f"/threads/{thread}/runs")]


def join_all(server: Server, thread: str) -> None:
    for run in runs_of(server, thread):
        server.get(f"/threads/{thread}/runs/{run}/join")


# ---------------------------------------------------------------- together
def test_of_two_answers_one_wins_and_the_other_is_409(server: Server, gate: Gate) -> None:
    """On all ways to start a run; the winner goes on only when both are through: nobody comes too late."""
    for kinds in product(KINDS, KINDS):
        graph_input = gate.input()
        thread, _ = asked(server, "held_asking", graph_input)
        found = together(server, thread, "held_asking", ["one", "other"], kinds)
        assert sorted(response.status for response in found) == [200, 409]
        refused = next(response for response in found if response.status == 409)
        assert refused.json()["detail"].startswith("command.resume: run ")
        assert heard(server, gate, thread, graph_input) == ("one" if found[0].status == 200 else "other")
        assert len(runs_of(server, thread)) == 2


def heard(server: Server, gate: Gate, thread: str, graph_input: dict[str, Any]) -> str:
    """Let the node go on; the answer that it had got."""
    gate.node(graph_input).finish()
    join_all(server, thread)
    (message,) = server.get(f"/threads/{thread}/state")["values"]["messages"]
    assert not gate.started(graph_input)
    return str(message["content"].removesuffix(": "))


def test_of_twenty_answers_one_wins(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    thread, _ = asked(server, "held_asking", graph_input)
    found = together(server, thread, "held_asking", [f"{number}" for number in range(20)])
    assert sorted(response.status for response in found) == [200] + [409] * 19
    (winner,) = (number for number, response in enumerate(found) if response.status == 200)
    assert heard(server, gate, thread, graph_input) == f"{winner}"


@pytest.mark.parametrize("named", [(True, True), (True, False), (False, True)])
def test_of_answers_that_name_the_question_or_do_not_one_wins(
    server: Server, gate: Gate, named: tuple[bool, bool]
) -> None:
    graph_input = gate.input()
    thread, (question,) = asked(server, "held_asking", graph_input)
    answers = [{question: text} if name else text for name, text in zip(named, ["one", "other"], strict=True)]
    found = together(server, thread, "held_asking", answers)
    assert sorted(response.status for response in found) == [200, 409]
    assert heard(server, gate, thread, graph_input) == ("one" if found[0].status == 200 else "other")


def test_however_fast_the_graph_is_only_one_answer_is_heard(server: Server) -> None:
    """The second may come when the first has been heard: then it is a run that changes nothing."""
    for _ in range(30):
        thread, _ = asked(server, "intr", {"x": "1"})
        found = together(server, thread, "intr", ["one", "other"])
        assert sorted(response.status for response in found) in ([200, 409], [200, 200])
        join_all(server, thread)
        assert log_of(server, thread) in (
            ["start:st", "ask:one", "finish"],
            ["start:st", "ask:other", "finish"],
        )


def test_answers_to_different_questions_are_both_heard(server: Server) -> None:
    for _ in range(TRIES):
        thread, questions = asked(server, "intr2", {})
        found = together(server, thread, "intr2", [{questions[0]: "x"}, {questions[1]: "y"}])
        assert [response.status for response in found] == [200, 200]
        join_all(server, thread)
        # Two nodes ask at the same time: either question may be the first.
        assert log_of(server, thread) in (["a:x", "b:y", "finish"], ["a:y", "b:x", "finish"])
        assert server.get(f"/threads/{thread}")["status"] == "idle"


# ---------------------------------------------------------------- one after the other
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_refused_while_another_one_is_being_heard(server: Server, gate: Gate, kind: str) -> None:
    thread = server.new_thread()
    graph_input = gate.input()
    server.wait("held_asking", graph_input, thread)
    first = answer(server, thread, "held_asking", "one").json()
    node = gate.node(graph_input)
    assert answer(server, thread, "held_asking", "other", kind).status == 409
    node.finish()
    assert server.get(f"/threads/{thread}/runs/{first['run_id']}/join")["messages"][0]["content"] == "one: "


def test_an_answer_is_refused_while_another_one_waits_its_turn(server: Server, gate: Gate) -> None:
    thread, _ = asked(server, "intr", {"x": "1"})
    graph_input = gate.input()
    server.post(f"/threads/{thread}/runs", {"assistant_id": "gate", "input": graph_input})
    node = gate.node(graph_input)
    assert answer(server, thread, "intr", "one").status == 200
    assert answer(server, thread, "intr", "other").status == 409
    node.finish()
    join_all(server, thread)


def test_an_answer_that_comes_when_the_other_was_heard_changes_nothing(server: Server) -> None:
    thread, _ = asked(server, "intr", {"x": "1"})
    assert answer(server, thread, "intr", "one", "wait").json()["log"] == ["start:st", "ask:one", "finish"]
    late = answer(server, thread, "intr", "other", "wait")
    assert (late.status, late.json()["log"]) == (200, ["start:st", "ask:one", "finish"])
    assert len(runs_of(server, thread)) == 3


def test_question_after_question_each_takes_its_answer(server: Server) -> None:
    thread, _ = asked(server, "quiz", {"questions": 5})
    for number in range(5):
        answer(server, thread, "quiz", f"{number}", "wait").body()
    state = server.get(f"/threads/{thread}/state")
    assert state["values"]["answers"] == ["0", "1", "2", "3", "4"]


def test_an_answer_is_not_refused_because_a_run_with_input_is_under_way(server: Server, gate: Gate) -> None:
    thread, _ = asked(server, "intr", {"x": "1"})
    graph_input = gate.input()
    server.post(f"/threads/{thread}/runs", {"assistant_id": "gate", "input": graph_input})
    node = gate.node(graph_input)
    assert answer(server, thread, "intr", "one").status == 200
    node.finish()
    join_all(server, thread)


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
def test_an_answer_that_displaces_the_other_is_heard_instead(
    server: Server, gate: Gate, strategy: str
) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    server.wait("held_asking", graph_input, thread)
    answer(server, thread, "held_asking", "one").body()
    first = gate.node(graph_input)
    second = answer(server, thread, "held_asking", "other", multitask_strategy=strategy).json()
    assert first.hear() == "cancelled"
    gate.node(graph_input).finish()
    joined = server.get(f"/threads/{thread}/runs/{second['run_id']}/join")
    assert [message["content"] for message in joined["messages"]] == ["other: "]


def test_with_reject_a_second_answer_meets_a_busy_thread(server: Server, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    server.wait("held_asking", graph_input, thread)
    answer(server, thread, "held_asking", "one").body()
    gate.node(graph_input)
    assert answer(server, thread, "held_asking", "other", multitask_strategy="reject").status == 409
