"""Answers to interrupts as fast as they can be given: a run has ended before anybody hears its question."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fix_gate import Gate
from fix_history import connect
from fix_server import Server, run_of
from sqlalchemy import Connection, text

ANSWERS = 500
PEOPLE = 10
QUESTIONS = ANSWERS // PEOPLE
TIES = 60

STATUS = text(
    "SELECT runs.status, threads.status FROM runs JOIN threads USING (thread_id) WHERE run_id = :run"
)


def committed(database: Connection, run: str) -> tuple[str, str]:
    """The status of a run and of its thread, as the database has them now."""
    of_run, of_thread = database.execute(STATUS, {"run": run.split("/")[4]}).one()
    return of_run, of_thread


def answer_all(server: Server, mode: str) -> tuple[list[str], set[tuple[str, str]]]:
    """One person: answers each question the moment it is heard. What was kept; what was committed by then."""
    thread = server.new_thread()
    seen: set[tuple[str, str]] = set()
    with connect(server) as database:
        more: dict[str, Any] = {"graph_input": {"questions": QUESTIONS}}
        for number in range(QUESTIONS):
            stream = server.stream(
                "quiz", thread=thread, stream_mode=mode, multitask_strategy="reject", **more
            )
            while "__interrupt__" not in (frame := stream.next(mode)).data:
                pass
            seen.add(committed(database, run_of(stream)))
            assert frame.data["__interrupt__"][0]["value"] == {"question": number}
            more = {"graph_input": None, "command": {"resume": f"answer {number}"}}
            stream.reset()
    values = server.wait("quiz", None, thread=thread, command=more["command"])
    assert server.get(f"/threads/{thread}")["status"] == "idle"
    return values["answers"], seen


@pytest.mark.parametrize("mode", ["updates", "values"])
def test_an_answer_given_at_once_meets_a_thread_that_waits_for_it(sturdy: Server, mode: str) -> None:
    with ThreadPoolExecutor(PEOPLE) as pool:
        found = list(pool.map(lambda _: answer_all(sturdy, mode), range(PEOPLE)))
    for answers, seen in found:
        assert answers == [f"answer {number}" for number in range(QUESTIONS)]
        assert seen == {("success", "interrupted")}


def test_of_two_answers_given_at_once_one_wins_and_the_other_is_refused(sturdy: Server, gate: Gate) -> None:
    start = threading.Barrier(2)

    def answer(thread: str, text: str) -> tuple[int, str]:
        body = {"assistant_id": "held_asking", "command": {"resume": text}}
        start.wait()
        response = sturdy.request("POST", f"/threads/{thread}/runs", body)
        response.body()
        return response.status, text

    with ThreadPoolExecutor(2) as pool:
        for _ in range(TIES):
            thread, graph_input = sturdy.new_thread(), gate.input()
            sturdy.wait("held_asking", graph_input, thread)
            given = list(pool.map(answer, [thread] * 2, ["one", "other"]))
            assert sorted(status for status, _ in given) == [200, 409]
            node = gate.node(graph_input)  # the winner goes on only now: nobody came too late to tie
            node.say("said")
            node.finish()
            (run,) = sturdy.get(f"/threads/{thread}/runs?limit=1")
            values = sturdy.get(f"/threads/{thread}/runs/{run['run_id']}/join")
            winner = next(text for status, text in given if status == 200)
            assert [message["content"] for message in values["messages"]] == [f"{winner}: said"]
            assert not gate.started(graph_input)
