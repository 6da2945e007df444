"""A hundred requests for one thread at once: never two runs at the same time, none forgotten.

What becomes of each: contract/runs.md 13. That never two ran is read from the database's own history
(fix_history.py), not from what clients saw.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fix_gate import Gate
from fix_history import History, contradictions, left_active, most_running
from fix_ledger import Ledger, overlapping
from fix_server import Server

REQUESTS = 100
Answer = tuple[int, Any]


@pytest.fixture
def history(sturdy: Server) -> Iterator[History]:
    history = History(sturdy)
    yield history
    history.close()


def at_once(server: Server, path: str, bodies: list[Any]) -> list[Answer]:
    """(status, body) of requests that all leave in the same moment."""
    start = threading.Barrier(len(bodies))

    def send(body: Any) -> Answer:
        start.wait()
        response = server.request("POST", path, body)
        return response.status, response.json()

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(send, bodies))


def burst(
    server: Server, gate: Gate, thread: str, strategy: str
) -> tuple[list[Answer], list[dict[str, Any]]]:
    """Runs whose nodes wait for the test: the answers, and the nodes' inputs."""
    inputs = [gate.input() for _ in range(REQUESTS)]
    bodies = [{"assistant_id": "gate", "input": one, "multitask_strategy": strategy} for one in inputs]
    return at_once(server, f"/threads/{thread}/runs", bodies), inputs


def check(server: Server, history: History, thread: str, ended: int = REQUESTS) -> None:
    """What holds for every strategy, once the last run has ended."""
    changes = history.changes(thread)
    assert most_running(changes) == 1
    assert left_active(changes) == set()
    assert len({change.run for change in changes}) == ended
    assert server.get(f"/threads/{thread}")["status"] == "idle"
    assert contradictions(server) == []


def test_enqueue_runs_all_of_them_one_after_another(sturdy: Server, history: History, ledger: Ledger) -> None:
    thread = sturdy.new_thread()
    body = {"assistant_id": "ledger", "input": ledger.input(steps=2, pause=0.001)}
    answers = at_once(sturdy, f"/threads/{thread}/runs", [body] * REQUESTS)
    assert [status for status, _ in answers] == [200] * REQUESTS
    runs = [run["run_id"] for run in sturdy.get(f"/threads/{thread}/runs?limit={REQUESTS}")]
    for run in reversed(runs):
        sturdy.get(f"/threads/{thread}/runs/{run}/join")
    check(sturdy, history, thread)
    admitted = [change.run for change in history.changes(thread) if change.before is None]
    started = [change.run for change in history.changes(thread) if change.after == "running"]
    assert started == admitted == list(dict.fromkeys(step.run for step in ledger.steps()))
    assert set(admitted) == {answer["run_id"] for _, answer in answers}
    assert overlapping(ledger.steps(), {}) == []
    assert sturdy.get(f"/threads/{thread}/state")["values"]["done"] == dict.fromkeys(admitted, 2)


def test_reject_runs_one_and_refuses_the_others(sturdy: Server, history: History, gate: Gate) -> None:
    thread = sturdy.new_thread()
    answers, inputs = burst(sturdy, gate, thread, "reject")
    assert Counter(status for status, _ in answers) == {200: 1, 409: REQUESTS - 1}
    winner = next(index for index, (status, _) in enumerate(answers) if status == 200)
    texts = {answer["detail"] for status, answer in answers if status == 409}
    assert texts == {
        "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
    }
    gate.node(inputs[winner]).finish()
    sturdy.get(f"/threads/{thread}/runs/{answers[winner][1]['run_id']}/join")
    check(sturdy, history, thread, ended=1)
    assert not any(gate.started(one) for one in inputs)


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
def test_the_last_one_displaces_all_others(
    sturdy: Server, history: History, gate: Gate, strategy: str
) -> None:
    thread = sturdy.new_thread()
    answers, inputs = burst(sturdy, gate, thread, strategy)
    assert [status for status, _ in answers] == [200] * REQUESTS
    last = [change.run for change in history.changes(thread) if change.before is None][-1]
    winner = next(index for index, (_, answer) in enumerate(answers) if answer["run_id"] == last)
    gate.node(inputs[winner]).finish()
    values = sturdy.get(f"/threads/{thread}/runs/{last}/join")
    assert (values["key"], values["done"]) == (inputs[winner]["key"], True)
    check(sturdy, history, thread)
    left = {run["run_id"]: run["status"] for run in sturdy.get(f"/threads/{thread}/runs?limit={REQUESTS}")}
    others = dict.fromkeys((answer["run_id"] for _, answer in answers), "interrupted")
    assert left == {**(others if strategy == "interrupt" else {}), last: "success"}
