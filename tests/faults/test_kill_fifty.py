"""kill -9 at fifty random moments while twenty runs execute: what was told stays true.

What users were told is compared with the database, and with a ledger that the nodes keep of themselves
(graphs/ledger.py). FAULT_SEED takes the same random moments again, it stands in the names of the tests;
FAULT_KILLS changes their number.
"""

import itertools
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wire
from fix_crowd import Stage, Told, User
from fix_ledger import Ledger, Step, overlapping
from fix_server import CONFIG, Server, eventually, start, stop

KILLS = int(os.environ.get("FAULT_KILLS", "50"))
SEED = int(os.environ["FAULT_SEED"])  # conftest.py chooses one
USERS = 20
ALIVE_SECONDS_MAX = 0.4  # how long a server lives once it answers
END_SECONDS = 30  # in which every run ends after a restart (reliability D3)
GRAPHS = CONFIG.with_name("faults.json")
TRIES = {"BG_JOB_MAX_RETRIES": "1000"}

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Aftermath:
    """What is left to look at when the last server has answered everybody."""

    server: Server
    users: list[User]
    steps: list[Step]
    deaths: dict[int, float]  # process -> when it was dead

    @property
    def told(self) -> list[Told]:
        return [told for user in self.users for told in user.told]

    def steps_of(self, run: str) -> list[Step]:
        return [step for step in self.steps if step.run == run]

    def rows(self, statement: str) -> list[Any]:
        return rows(self.server, statement)


def rows(server: Server, statement: str) -> list[Any]:
    with closing(sqlite3.connect(server.data_dir / "graphwire.db")) as database:
        return database.execute(statement).fetchall()


def active_runs(server: Server) -> list[Any]:
    return rows(server, "SELECT run_id FROM runs WHERE status IN ('pending', 'running')")


def kill_one_after_another(stage: Stage, folder: Path, users: "list[Future[User]]") -> dict[int, float]:
    chance, failed = random.Random(SEED), threading.Event()
    for user in users:
        user.add_done_callback(lambda _: failed.set())
    deaths: dict[int, float] = {}
    while not failed.wait(chance.uniform(0, ALIVE_SECONDS_MAX)):
        stage.server.process.kill()
        stage.server.process.wait()
        deaths[stage.server.process.pid] = time.monotonic()
        if len(deaths) == KILLS:
            break
        stage.enter(start(folder, GRAPHS, **TRIES))
    return deaths


@pytest.fixture(scope="module", params=[SEED], ids="seed-{}".format)
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    folder = tmp_path_factory.mktemp("server")
    ledger = Ledger(folder / "ledger")
    stage = Stage(start(folder, GRAPHS, **TRIES))
    users = [User(stage, ledger, random.Random(f"{SEED} {number}")) for number in range(USERS)]
    with ThreadPoolExecutor(USERS) as pool:
        living = [pool.submit(user.live) for user in users]
        deaths = kill_one_after_another(stage, folder, living)
        stage.enter(start(folder, GRAPHS, **TRIES), last=True)
    try:
        # What was admitted in the moment of a kill is nobody's, and runs all the same.
        eventually(lambda: active_runs(stage.server) == [], END_SECONDS)
        yield Aftermath(stage.server, [user.result() for user in living], ledger.steps(), deaths)
    finally:
        stop(stage.server)


def test_the_servers_died_in_the_middle_of_work(aftermath: Aftermath) -> None:
    unfinished = [step for step in aftermath.steps if step.ended is None]
    assert len(aftermath.deaths) == KILLS
    assert {step.pid for step in unfinished} <= set(aftermath.deaths)
    assert len(unfinished) > 2 * KILLS  # of up to twenty each


def test_every_run_came_to_its_end(aftermath: Aftermath) -> None:
    ends = aftermath.rows("SELECT status, count(*) FROM runs GROUP BY status")
    assert [status for status, _ in ends] == ["success"]


def test_no_thread_is_busy(aftermath: Aftermath) -> None:
    assert aftermath.rows("SELECT DISTINCT status FROM threads") == [("idle",)]


def test_every_acknowledged_thread_and_run_is_there(aftermath: Aftermath) -> None:
    threads = {thread for (thread,) in aftermath.rows("SELECT thread_id FROM threads")}
    runs = {run for (run,) in aftermath.rows("SELECT run_id FROM runs")}
    assert {thread for user in aftermath.users for thread in user.threads} <= threads
    assert {told.run for told in aftermath.told if not told.temporary} <= runs


def test_every_acknowledged_run_did_all_its_steps(aftermath: Aftermath) -> None:
    for told in aftermath.told:
        done = [step.number for step in aftermath.steps_of(told.run) if step.ended]
        assert sorted(set(done)) == list(range(told.steps))


def test_no_thread_executed_two_steps_at_the_same_time(aftermath: Aftermath) -> None:
    assert overlapping(aftermath.steps, aftermath.deaths) == []


def test_no_attempt_began_before_another_process_had_died(aftermath: Aftermath) -> None:
    for run in {step.run for step in aftermath.steps}:
        processes = {step.attempt: step.pid for step in aftermath.steps_of(run)}
        assert len(set(processes.values())) == len(processes)


def test_a_kill_repeats_one_step_at_most_and_leaves_none_out(aftermath: Aftermath) -> None:
    """With durability `sync`; `async` may have to repeat more, but leaves none out either."""
    durabilities = {told.run: told.durability for told in aftermath.told}
    for run, durability in durabilities.items():
        for before, step in itertools.pairwise(aftermath.steps_of(run)):
            if step.attempt == before.attempt:
                assert step.number == before.number + 1
            else:
                assert step.number <= before.number + 1
                assert step.number >= before.number or durability == "async"


def test_a_run_that_was_seen_to_end_was_not_executed_again(aftermath: Aftermath) -> None:
    for told in aftermath.told:
        assert told.ended_at is not None or told.temporary
        assert all(step.began < (told.ended_at or step.began + 1) for step in aftermath.steps_of(told.run))


def test_a_run_that_was_seen_to_end_kept_its_values(aftermath: Aftermath) -> None:
    for told in aftermath.told:
        if not told.temporary:
            thread = aftermath.server.get(f"/threads/{told.thread}")
            state = aftermath.server.get(f"/threads/{told.thread}/state")
            assert thread["values"]["done"][told.run] == told.steps
            assert state["values"] == thread["values"]


def test_a_run_that_was_seen_to_end_kept_its_checkpoints(aftermath: Aftermath) -> None:
    kept = dict(
        aftermath.rows(
            "SELECT json_extract(CAST(metadata AS TEXT), '$.run_id') AS run, "
            "count(DISTINCT json_extract(CAST(metadata AS TEXT), '$.step')) FROM checkpoints GROUP BY run"
        )
    )
    for told in aftermath.told:
        if not told.temporary:
            assert kept[told.run] == told.steps + 2  # before the input, after it, after each step


def test_a_client_that_comes_back_learns_of_the_new_attempt(aftermath: Aftermath) -> None:
    returned = 0
    for told in aftermath.told:
        attempts = [0]
        for frames in told.connections:
            returned += attempts != [0]
            attempts += check_connection(frames)
        assert attempts == sorted(set(attempts))
        ids = [frame.order for frames in told.connections for frame in frames if frame.event != "error"]
        assert ids == sorted(set(ids))
    assert returned > KILLS / 5


def check_connection(frames: list[wire.Frame]) -> list[int]:
    """The attempt that a connection told of: it begins with it, or says that it is too late."""
    if not frames:
        return []  # cut before the first event
    first, *rest = frames
    if first.event == "error":
        assert first.data["error"] == "EventsExpired"
        return []
    assert first.event == "metadata"
    assert {frame.event for frame in rest} <= {"values"}
    done = [sum(frame.data.get("done", {}).values()) for frame in rest]
    assert all(after - before in (0, 1) for before, after in itertools.pairwise(done)), done
    return [first.data["attempt"]]


def test_no_server_met_an_error_of_its_own(aftermath: Aftermath) -> None:
    assert "Traceback" not in aftermath.server.log
