"""Runs are started once, in their order, never two of a thread, by however many claimers."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from fix_database import only_postgres

from server.models import Run, RunStatus, Thread, ThreadStatus
from server.storage import runs, threads
from server.storage.database import Database, Tx
from server.storage.locks import lock_thread

AT = "2026-01-01T00:00:00.000000+00:00"
LATER = "2999-01-01T00:00:00.000000+00:00"


def add(database: Database, thread_id: str, *run_ids: str, due: str = AT) -> None:
    def work(tx: Tx) -> None:
        if not threads.exists(tx, thread_id):
            threads.add(tx, Thread(thread_id, AT, AT, AT, {}, ThreadStatus.idle, {}, None, None))
        for run_id in run_ids:
            runs.add(tx, Run(run_id, thread_id, "a", "g", RunStatus.pending, {}, {}, "enqueue", AT, AT, due))

    database.write_now(work)


def claim(database: Database, limit: int = 10) -> list[str]:
    return [run.run_id for run in database.write_now(lambda tx: runs.claim(tx, AT, limit))]


def end(database: Database, run: Run) -> bool:
    return database.write_now(lambda tx: runs.finish(tx, run, RunStatus.success, AT, error=None, reason=None))


def test_runs_are_claimed_in_their_order_and_one_of_a_thread(database: Database) -> None:
    add(database, "one", "a", "b")
    add(database, "two", "c")
    add(database, "three", "later", due=LATER)
    assert claim(database, 1) == ["a"]
    assert claim(database) == ["c"]
    assert claim(database) == []


def test_a_run_that_is_put_off_holds_up_none_of_its_thread(database: Database) -> None:
    add(database, "t", "later", due=LATER)
    add(database, "t", "now")
    assert claim(database) == ["now"]


@pytest.mark.timeout(60)
def test_eight_claimers_start_each_run_once_and_never_two_of_a_thread(database: Database) -> None:
    for number in range(200):
        add(database, f"t{number}", f"{number} first", f"{number} second")
    started: list[str] = []

    def claimer(seed: int) -> None:
        chance = random.Random(seed)
        while found := database.write_now(lambda tx: runs.claim(tx, AT, chance.randrange(1, 8))):
            assert len({run.thread_id for run in found}) == len(found)
            started.extend(run.run_id for run in found)
            for run in found:
                assert end(database, run)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(claimer, range(8)))
    # A claimer that found nothing may have gone before the end of a run made room for the next.
    claimer(8)
    assert sorted(started) == sorted(
        f"{number} {which}" for number in range(200) for which in ("first", "second")
    )
    order = {run_id: index for index, run_id in enumerate(started)}
    assert all(order[f"{number} first"] < order[f"{number} second"] for number in range(200))


@only_postgres
def test_a_thread_that_somebody_is_at_is_passed_over_and_waited_for_when_there_is_no_other(
    database: Database,
) -> None:
    add(database, "taken", "a")
    add(database, "free", "b")
    with ThreadPoolExecutor(1) as pool:

        def hold(tx: Tx) -> None:
            lock_thread(tx, "taken")
            assert claim(database) == ["b"]
            waiting.append(pool.submit(claim, database))
            assert not waiting[0].done()

        waiting: list[object] = []
        database.write_now(hold)
        assert waiting[0].result(10) == ["a"]  # type: ignore[attr-defined]
