"""Creations, cancels and deletions that race: no thread is busy with nothing, and nothing runs on for nobody.

Reliability D9 and D10. Whether rows agree is read from the database (fix_history.py), what was executed from
the ledger that nodes keep (fix_ledger.py).
"""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from fix_engine import EMBEDDED, Engine
from fix_gate import Gate
from fix_history import History, connect, contradictions, left_active, most_running
from fix_ledger import Ledger
from fix_server import Server, eventually
from sqlalchemy import text

REPEATS = 60
REQUESTS = 100
THREADS = 5
AT_ONCE = 10
LONG = {"steps": 500, "pause": 0.002}  # for a run that does not end by itself
SHORT = {"steps": 3, "pause": 0.005}
SEED = random.randrange(2**32)

pytestmark = pytest.mark.alone


@pytest.fixture
def history(sturdy: Server) -> Iterator[History]:
    history = History(sturdy)
    yield history
    history.close()


@contextmanager
def agreeing(server: Server) -> Iterator[None]:
    """Looks all the time whether the committed rows agree, not only when the test has a moment."""
    over = threading.Event()

    def watch() -> list[tuple[str, str]]:
        while not (found := contradictions(server)) and not over.wait(0.002):
            pass
        return found

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(watch)
        try:
            yield
        finally:
            over.set()
    assert looking.result() == []


def start_run(server: Server, thread: str, graph_input: Any, **fields: Any) -> str:
    """The path of a new run in the background."""
    body = {"assistant_id": "ledger", "input": graph_input, **fields}
    run = server.post(f"/threads/{thread}/runs", body)
    return f"/threads/{thread}/runs/{run['run_id']}"


# ---------------------------------------------------------------- cancels (D10)
@pytest.mark.parametrize("action", ["rollback", "interrupt"])
def test_a_cancel_that_nobody_waits_for_leaves_no_thread_busy(
    sturdy: Server, ledger: Ledger, action: str
) -> None:
    threads = [sturdy.new_thread() for _ in range(REPEATS)]

    def start_and_cancel(thread: str) -> None:
        run = start_run(sturdy, thread, ledger.input(**LONG))
        answer = sturdy.request("POST", f"{run}/cancel?wait=false&action={action}")
        assert (answer.status, answer.body()) == (202, b"")

    with agreeing(sturdy):
        for thread in threads:
            start_and_cancel(thread)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(start_and_cancel, threads))
        for thread in threads:
            assert eventually(lambda at=thread: sturdy.get(f"/threads/{at}")["status"] != "busy", 1.0)


def test_creations_and_cancels_in_any_order_forget_no_run(
    sturdy: Server, history: History, ledger: Ledger
) -> None:
    chance = random.Random(SEED)
    threads = [sturdy.new_thread() for _ in range(THREADS)]
    known: list[str] = []

    def create(thread: str, strategy: str) -> None:
        body = {"assistant_id": "ledger", "input": ledger.input(**SHORT), "multitask_strategy": strategy}
        answer = sturdy.request("POST", f"/threads/{thread}/runs", body)
        assert answer.status in ((200, 409) if strategy == "reject" else (200,))
        if answer.status == 200:
            known.append(f"/threads/{thread}/runs/{answer.json()['run_id']}")

    def cancel(_: str, query: str) -> None:
        run = known[chance.randrange(len(known))]
        answer = sturdy.request("POST", f"{run}/cancel?{query}")
        answer.body()
        assert answer.status in (200, 202, 404)

    def act(number: int) -> None:
        thread = threads[number % THREADS]
        if number < THREADS or chance.random() < 0.5:
            create(thread, chance.choice(["enqueue", "reject", "interrupt", "rollback"]))
        elif known:
            action, wait = chance.choice(["interrupt", "rollback"]), chance.choice(["0", "1"])
            cancel(thread, f"action={action}&wait={wait}")

    with agreeing(sturdy), ThreadPoolExecutor(REQUESTS // 2) as pool:
        list(pool.map(act, range(REQUESTS)))
        for run in known:
            sturdy.request("GET", f"{run}/join").body()
    for thread in threads:
        assert left_active(history.changes(thread)) == set(), SEED
        assert most_running(history.changes(thread)) <= 1, SEED
        assert sturdy.get(f"/threads/{thread}")["status"] != "busy"


# ---------------------------------------------------------------- deletions (D9)
def test_no_step_of_a_deleted_thread_begins_after_the_answer(sturdy: Server, ledger: Ledger) -> None:
    threads = [sturdy.new_thread() for _ in range(REPEATS)]
    answered: dict[str, float] = {}

    def start_and_delete(thread: str) -> None:
        run = start_run(sturdy, thread, ledger.input(**LONG))
        assert eventually(lambda: ledger.knows(run.split("/")[4]))
        answer = sturdy.request("DELETE", f"/threads/{thread}")
        assert (answer.status, answer.body()) == (204, b"")
        answered[thread] = time.monotonic()

    with agreeing(sturdy), ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(start_and_delete, threads))
    sturdy.wait("ledger", ledger.input(steps=20, pause=0.01))  # whatever went on had time to show it
    late = [step for step in ledger.steps() if step.began > answered.get(step.thread, step.began)]
    assert late == []


@pytest.mark.parametrize("graph", ["gate", "gate_sync"])
def test_what_a_node_of_a_deleted_thread_still_returns_is_lost(
    sturdy: Server, engine: Engine, gate: Gate, graph: str
) -> None:
    """A synchronous node cannot be stopped; it speaks on to nobody, also when the thread is made anew."""
    thread, graph_input = sturdy.new_thread(), gate.input(stubborn=True)
    stream = sturdy.stream(graph, graph_input, thread, durability="sync")
    node = gate.node(graph_input)
    assert sturdy.request("DELETE", f"/threads/{thread}").status == 204
    stream.rest()
    sturdy.post("/threads", {"thread_id": thread})
    if graph == "gate":
        node = gate.node(graph_input)  # it swallowed its cancellation and called the model again
    node.say("too late")
    node.finish()
    node.hear()
    sturdy.wait(graph, gate.input(port=1), thread=None)  # an end of the same kind has come after it
    assert sturdy.get(f"/threads/{thread}")["values"] is None
    writes = "writes" if engine is EMBEDDED else "checkpoint_writes"
    with connect(sturdy) as database:
        for table in ("runs", "checkpoints", writes):
            query = text(f"SELECT count(*) FROM {table} WHERE thread_id = :thread")
            assert database.execute(query, {"thread": thread}).scalar() == 0


def test_the_hidden_thread_of_a_run_without_one_can_be_deleted(sturdy: Server, ledger: Ledger) -> None:
    run = sturdy.post("/runs", {"assistant_id": "ledger", "input": ledger.input(**LONG)})
    assert eventually(lambda: ledger.knows(run["run_id"]))
    answer = sturdy.request("DELETE", f"/threads/{run['thread_id']}")
    assert (answer.status, answer.body()) == (204, b"")
    assert sturdy.request("GET", f"/threads/{run['thread_id']}").status == 404
