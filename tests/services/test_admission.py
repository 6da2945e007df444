"""A second run on a busy thread, by each strategy, on a real database."""

import pytest

from server.errors import Conflict
from server.models import Run, RunStatus, Thread, ThreadStatus
from server.services.admission import Displaced, admit
from server.storage import runs, threads
from server.storage.database import Database

AT = "2026-01-01T00:00:00.000000+00:00"
LATER = "2999-01-01T00:00:00.000000+00:00"
STRATEGIES = ("reject", "enqueue", "interrupt", "rollback")


@pytest.fixture(autouse=True)
def two_threads(database: Database) -> None:
    for thread_id in ("t", "other"):
        thread = Thread(thread_id, AT, AT, AT, {}, ThreadStatus.idle, {}, None, None)
        database.write_now(lambda tx, thread=thread: threads.add(tx, thread))  # type: ignore[misc]


def add(database: Database, run_id: str, status: RunStatus, thread_id: str = "t", due: str = AT) -> None:
    run = Run(run_id, thread_id, "a", "g", status, {}, {}, "enqueue", AT, AT, due)
    database.write_now(lambda tx: runs.add(tx, run))


def busy(database: Database) -> None:
    """One run under way, one that waits for it, one that has ended."""
    add(database, "done", RunStatus.success)
    add(database, "running", RunStatus.running)
    add(database, "waiting", RunStatus.pending)


def admitted(database: Database, strategy: str) -> Displaced:
    return database.write_now(lambda tx: admit(tx, "t", "new", strategy))


def found(database: Database, run_id: str) -> Run | None:
    return database.read_now(lambda tx: runs.get(tx, None, run_id))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_idle_thread_takes_any_run_and_displaces_none(database: Database, strategy: str) -> None:
    add(database, "done", RunStatus.success)
    add(database, "failed", RunStatus.error)
    assert admitted(database, strategy) == Displaced()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_runs_of_other_threads_are_nobodys_business(database: Database, strategy: str) -> None:
    add(database, "elsewhere", RunStatus.running, "other")
    assert admitted(database, strategy) == Displaced()
    assert found(database, "elsewhere").stop is None  # type: ignore[union-attr]


@pytest.mark.parametrize("status", [RunStatus.running, RunStatus.pending])
def test_reject_refuses_a_busy_thread(database: Database, status: RunStatus) -> None:
    add(database, "first", status)
    with pytest.raises(Conflict, match="already running a task"):
        admitted(database, "reject")


def test_a_delayed_run_makes_the_thread_busy(database: Database) -> None:
    add(database, "delayed", RunStatus.pending, due=LATER)
    with pytest.raises(Conflict):
        admitted(database, "reject")


def test_enqueue_leaves_everything_as_it_is(database: Database) -> None:
    busy(database)
    assert admitted(database, "enqueue") == Displaced()
    assert [run.run_id for run in database.read_now(lambda tx: runs.active(tx, "t"))] == [
        "running",
        "waiting",
    ]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
def test_the_running_run_is_asked_to_stop_and_told_why(database: Database, strategy: str) -> None:
    busy(database)
    assert admitted(database, strategy).stopping == ["running"]
    run = found(database, "running")
    assert run is not None
    assert (run.status, run.stop) == (RunStatus.running, strategy)
    assert run.reason == f"superseded by run new (multitask_strategy={strategy})"


def test_interrupt_ends_those_that_wait(database: Database) -> None:
    busy(database)
    assert [one.run.run_id for one in admitted(database, "interrupt").ended] == ["waiting"]
    run = found(database, "waiting")
    assert run is not None
    assert run.status is RunStatus.interrupted


def test_rollback_leaves_nothing_of_those_that_wait(database: Database) -> None:
    busy(database)
    assert [one.run.run_id for one in admitted(database, "rollback").ended] == ["waiting"]
    assert found(database, "waiting") is None


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_a_run_that_has_ended_stays_as_it_is(database: Database, strategy: str) -> None:
    busy(database)
    before = found(database, "done")
    admitted(database, strategy)
    assert found(database, "done") == before


@pytest.mark.parametrize("status", ["success", "error", "timeout", "interrupted"])
def test_only_waiting_and_running_make_a_thread_busy(database: Database, status: str) -> None:
    add(database, "ended", RunStatus(status))
    assert admitted(database, "reject") == Displaced()
