"""Processes of a cluster that stop: in order, by SIGTERM, or for longer than a lease, by SIGSTOP."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
import wire
from fix_cluster import Cluster, Worker
from fix_gate import Gate
from fix_ledger import Ledger, overlapping
from fix_rows import ran_twice_at_once
from fix_server import CONFIG, Server, eventually, run_of

FAULTS = CONFIG.with_name("faults.json")
LEASE_SECONDS = 2
ENVIRONMENT = {"BG_JOB_MAX_RETRIES": "1000", "GRAPHWIRE_LEASE_SECONDS": f"{LEASE_SECONDS}"}
HANDED_OVER_SECONDS = 3.0  # within which another worker goes on with a run; far below the lease of that test
GRACE = "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS"

pytestmark = [pytest.mark.alone, pytest.mark.nightly]
Start = Callable[..., Cluster]


def background(server: Server, graph: str, graph_input: Any) -> str:
    thread = server.new_thread()
    body = {"assistant_id": graph, "input": graph_input}
    return f"/threads/{thread}/runs/{server.post(f'/threads/{thread}/runs', body)['run_id']}"


def words(frames: list[wire.Frame]) -> list[str]:
    found = [frame.data[0]["content"] for frame in frames if frame.event == "messages"]
    return [word for word in found if word]


def is_done(frame: wire.Frame) -> bool:
    return frame.event == "metadata" and frame.data.get("status") == "run_done"


@contextmanager
def frozen(worker: Worker) -> Iterator[None]:
    """Meanwhile the process does nothing, not even know that time goes by."""
    worker.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.process.send_signal(signal.SIGCONT)


# ---------------------------------------------------------------- SIGSTOP
def test_what_a_worker_did_that_was_taken_for_dead_counts_for_nothing(
    start_cluster: Start, gate: Gate
) -> None:
    cluster, graph_input = start_cluster(apis=1, workers=1, config=FAULTS, **ENVIRONMENT), gate.input()
    cluster.rows.write_history()
    (server,), (sleeper,) = cluster.servers, cluster.workers
    stream = server.stream("gate", graph_input, stream_mode=["messages-tuple", "values"])
    run, node = run_of(stream), gate.node(graph_input)
    node.say("old ")
    frames = [stream.next("metadata"), stream.next("messages")]
    cluster.add_worker()
    with frozen(sleeper):
        again = gate.node(graph_input)  # it was begun anew elsewhere
        node.say("of the dead ")
        node.finish()
        again.say("new")
        frames.append(stream.next("metadata"))
        assert [frame.data.get("attempt") for frame in frames if frame.event == "metadata"] == [1, 2]
    assert eventually(lambda: "this worker was taken for dead" in sleeper.log or gone(sleeper.log))
    again.finish()
    frames += stream.rest()
    assert words(frames) == ["old ", "new"]
    assert server.get(f"{run}/join")["out"] == "new"
    state = server.get(f"/threads/{run.split('/')[2]}/state")
    assert state["values"]["out"] == "new"
    steps = server.get(f"/threads/{run.split('/')[2]}/history?limit=10")
    assert [step["metadata"]["step"] for step in steps] == [2, 1, 0, -1]
    assert words(server.join(f"{run}/stream", "-1").rest()) == ["old ", "new"]
    assert server.get(run)["attempt"] == 2
    assert ran_twice_at_once(cluster.rows.history()) == []
    # It has come back, under another name, and works.
    other = cluster.workers[1]
    with frozen(other):
        late = gate.input()
        waiting = background(server, "gate", late)
        gate.node(late).finish()
        assert server.get(f"{waiting}/join")["done"] is True


def gone(log: str) -> bool:
    return "the database is out of reach" in log


def test_many_runs_of_a_worker_that_sleeps_are_completed_elsewhere(
    start_cluster: Start, ledger: Ledger
) -> None:
    cluster = start_cluster(apis=1, workers=1, config=FAULTS, **ENVIRONMENT)
    cluster.rows.write_history()
    (server,), (sleeper,) = cluster.servers, cluster.workers
    runs = [background(server, "ledger", ledger.input(40, 0.1)) for _ in range(20)]
    assert eventually(lambda: all(ledger.knows(run.split("/")[4]) for run in runs))
    cluster.add_worker()
    slept_at = time.monotonic()
    with frozen(sleeper):
        assert eventually(lambda: len({step.run for step in ledger.steps() if step.attempt > 1}) == 20)
        woke_at = time.monotonic()
    for run in runs:
        values = server.get(f"{run}/join")
        assert values.get("done") == {run.split("/")[4]: 40}, values
        assert server.get(run)["status"] == "success"
    old = [step for step in ledger.steps() if step.pid == sleeper.pid and step.attempt == 1]
    assert {step.run for step in old} == {run.split("/")[4] for run in runs}
    # What it still did when it woke were a step or two, as one is stored while the next begins.
    late = Counter(step.run for step in old if step.began > woke_at)
    assert max(late.values(), default=0) <= 2
    assert slept_at < woke_at - LEASE_SECONDS
    assert cluster.rows.contradictions() == []
    assert ran_twice_at_once(cluster.rows.history()) == []
    awake = [step for step in ledger.steps() if step.pid != sleeper.pid]
    assert overlapping(awake, {}) == []


# ---------------------------------------------------------------- SIGTERM
def test_a_worker_that_is_replaced_hands_over_at_once_and_no_attempt_counts(
    start_cluster: Start, gate: Gate
) -> None:
    env = {GRACE: "0.5", "BG_JOB_MAX_RETRIES": "1", "GRAPHWIRE_LEASE_SECONDS": "30"}
    cluster, graph_input = start_cluster(apis=1, workers=1, config=FAULTS, **env), gate.input()
    (server,), (first,) = cluster.servers, cluster.workers
    stream = server.stream("gate", graph_input, stream_mode="messages-tuple")
    gate.node(graph_input).say("half ")
    assert stream.next("messages").data[0]["content"] == "half "
    cluster.add_worker()
    before = time.monotonic()
    assert first.stop() == 0
    node = gate.node(graph_input, HANDED_OVER_SECONDS)
    assert time.monotonic() - before < HANDED_OVER_SECONDS
    node.say("whole")
    node.finish()
    frames = stream.rest()
    assert stream.ended_by == "last chunk"
    assert [frame.data["attempt"] for frame in frames if "attempt" in frame.data] == [2]
    assert words(frames) == ["whole"]
    assert cluster.rows.ask("SELECT status, attempt, handovers FROM runs") == [("success", 2, 1)]


def test_a_worker_that_is_replaced_finishes_what_it_can(start_cluster: Start, gate: Gate) -> None:
    cluster, graph_input = start_cluster(apis=1, workers=1, config=FAULTS), gate.input()
    (server,), (first,) = cluster.servers, cluster.workers
    stream = server.stream("gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    first.process.terminate()
    cluster.add_worker()
    assert server.wait("echo", {"data": "x"})  # by the other
    node.say("whole")
    node.finish()
    assert words(stream.rest()) == ["whole"]
    assert first.process.wait(10) == 0
    assert server.get(run_of(stream))["attempt"] == 1


def test_a_stream_goes_on_at_the_other_api_process_when_one_is_replaced(
    start_cluster: Start, gate: Gate
) -> None:
    cluster = start_cluster(apis=2, workers=1, config=FAULTS, **{GRACE: "0.5"})
    graph_input, (one, other) = gate.input(), cluster.servers
    stream = one.stream("gate", graph_input, stream_mode="messages-tuple")
    follower = one.join(f"/threads/{run_of(stream).split('/')[2]}/stream", "-")
    waiting = one.request("GET", f"{run_of(stream)}/join")
    node = gate.node(graph_input)
    frames = [stream.next_frame()]
    node.say("one ")
    frames.append(stream.next("messages"))
    one.process.terminate()
    frames += stream.rest()
    assert (stream.ended_by, waiting.body(), waiting.ended_by) == ("cut", b"", "cut")
    followed = follower.rest()
    assert one.process.wait(10) == 0
    node.say("two")
    again = other.join(f"{run_of(stream)}/stream", frames[-1].id)
    joining = other.request("GET", f"{run_of(stream)}/join")
    node.finish()
    frames += again.rest()
    assert words(frames) == ["one ", "two"]
    assert len([frame for frame in frames if frame.event == "metadata"]) == 1
    assert joining.json()["out"] == "one two"
    following = other.join(f"/threads/{run_of(stream).split('/')[2]}/stream", followed[-1].id)
    while not is_done(frame := following.next_frame()):
        followed.append(frame)
    assert words(followed) == ["one ", "two"]


# ---------------------------------------------------------------- crons
def test_a_cron_fires_once_a_second_over_the_death_of_the_elected_one(start_cluster: Start) -> None:
    cluster = start_cluster(apis=3, config=FAULTS, **ENVIRONMENT)
    server = cluster.servers[0]
    thread = server.new_thread()
    body = {"assistant_id": "echo", "schedule": "* * * * * *", "input": {}, "multitask_strategy": "enqueue"}
    server.post(f"/threads/{thread}/runs/crons", body)

    def ticks() -> list[str]:
        rows = cluster.rows.ask("SELECT created_at FROM runs ORDER BY seq")
        return [created_at[:19] for (created_at,) in rows]

    for _ in range(2):
        before = len(ticks())
        assert eventually(lambda before=before: len(ticks()) >= before + 2)
        elected = max(cluster.apis, key=lambda api: elected_at(api.log))
        elected.kill()
        died = len(ticks())
        assert eventually(lambda died=died: len(ticks()) >= died + 2, 10)
        elected.restart()
    fired = ticks()
    assert len(set(fired)) == len(fired)
    # What is missing is missing once a death, for as long as a lease and the way to the next: one is made up.
    moments = [datetime.fromisoformat(tick) for tick in fired]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]
    assert max(gaps) <= 2 * LEASE_SECONDS + 2
    assert len([gap for gap in gaps if gap > 1]) <= 2 * 2


def elected_at(log: str) -> str:
    """When the process was elected last; "" if it never was."""
    return max((line[:26] for line in log.splitlines() if "does the housekeeping" in line), default="")
