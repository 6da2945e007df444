"""The life of a run: admitted, claimed, stopped, finished once, recovered; on a real database and log."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fix_database import only_sqlite
from sqlalchemy.exc import IntegrityError

from server.clock import now
from server.errors import Conflict, Contradiction, Invalid, NotFound, Overloaded, StorageFull
from server.models import (
    Caller,
    Outcome,
    PendingLimits,
    Run,
    RunPage,
    RunRequest,
    RunSelection,
    RunStatus,
    Thread,
    ThreadStatus,
    WebhookRules,
)
from server.services.addresses import SystemResolver
from server.services.attempts import Attempts
from server.services.readers import Readers
from server.services.resolution import automatic
from server.services.runs import Runs
from server.services.stopping import EARLY_CANCELS_MAX
from server.services.webhook_policy import WebhookPolicy
from server.storage import assistants, names, threads
from server.storage import runs as statements
from server.storage.database import Database, Tx
from server.streaming.broker import BEGINNING, END, Cursor, Entry
from server.streaming.log import Limits
from server.streaming.memory import MemoryBroker
from server.streaming.signals import LocalSignals

NOBODY = Caller()
ATTEMPTS_MAX = 3
DONE = Outcome(RunStatus.success, ThreadStatus.idle, b'{"a":1}')
FAILED = Outcome(RunStatus.error, ThreadStatus.error, error={"error": "ValueError", "message": "x"})


class Server:
    """Runs with a database, a log and signals of their own, and no worker: the test is the worker."""

    def __init__(self, database: Database, pending_max: int = 100, pending_of_one: int = 100) -> None:
        self.database = database
        self.broker = MemoryBroker(Limits())
        signals = LocalSignals()
        pending = PendingLimits(pending_max, pending_of_one)
        policy = WebhookPolicy(WebhookRules(), SystemResolver())
        self.runs = Runs(self.database, self.broker, signals, ("g",), pending, policy)
        self.readers = Readers(self.database, self.broker)
        self.attempts = Attempts(self.database, self.broker, signals, ATTEMPTS_MAX)

    async def start(self) -> "Server":
        await self.database.write(lambda tx: assistants.add(tx, automatic("g", "g", None)))
        thread = Thread("t", now(), now(), now(), {}, ThreadStatus.idle, {}, None, None)
        await self.database.write(lambda tx: threads.add(tx, thread))
        return self

    async def create(self, thread_id: str | None = "t", **fields: Any) -> Run:
        return await self.runs.create(NOBODY, thread_id, RunRequest("g", **fields))

    async def started(self, thread_id: str | None = "t", **fields: Any) -> Run:
        """A run that has been created and claimed."""
        created = await self.create(thread_id, **fields)
        claimed = await self.attempts.claim(10)
        return next(run for run in claimed if run.run_id == created.run_id)

    async def run(self, run_id: str) -> Run | None:
        return await self.database.read(lambda tx: statements.get(tx, None, run_id))

    async def thread(self, thread_id: str = "t") -> Thread | None:
        return await self.database.read(lambda tx: threads.get(tx, thread_id))

    async def status(self, run_id: str) -> str | None:
        run = await self.run(run_id)
        return run and run.status.value

    async def log(self, run_id: str) -> list[Entry]:
        batch = await self.broker.read(run_id, BEGINNING, 0)
        return [] if batch is None else list(batch.entries)


@pytest.fixture
async def server(database: Database) -> Server:
    return await Server(database).start()


# ------------------------------------------------------------------------------------- admission


async def test_a_created_run_is_durable_and_makes_its_thread_busy(server: Server) -> None:
    run = await server.create(metadata={"a": 1})
    thread = await server.thread()
    assert await server.status(run.run_id) == "pending"
    assert thread is not None
    assert (thread.status, thread.metadata) == (
        ThreadStatus.busy,
        {"graph_id": "g", "assistant_id": run.assistant_id},
    )


async def test_a_created_run_has_a_log_that_readers_can_wait_on(server: Server) -> None:
    run = await server.create()
    assert await server.broker.thread_of(run.run_id) == "t"


async def test_an_unknown_thread_is_not_found(server: Server) -> None:
    with pytest.raises(NotFound, match="Thread with ID missing not found"):
        await server.create("missing")


async def test_an_unknown_thread_is_made_where_that_is_asked(server: Server) -> None:
    run = await server.create("fresh", if_not_exists="create")
    assert (run.thread_id, (await server.thread("fresh")) is not None) == ("fresh", True)


@pytest.mark.parametrize(
    ("assistant_id", "failure"),
    [("nonsense", Invalid), ("00000000-0000-0000-0000-000000000000", NotFound)],
)
async def test_an_unknown_assistant_leaves_nothing_behind(
    server: Server, assistant_id: str, failure: type[Exception]
) -> None:
    with pytest.raises(failure):
        await server.runs.create(NOBODY, "fresh", RunRequest(assistant_id, if_not_exists="create"))
    assert await server.thread("fresh") is None


async def test_a_refused_run_leaves_the_busy_one_alone(server: Server) -> None:
    first = await server.started()
    with pytest.raises(Conflict):
        await server.create(multitask_strategy="reject")
    assert await server.status(first.run_id) == "running"


async def test_no_more_runs_wait_than_the_operator_allows(database: Database) -> None:
    server = await Server(database, pending_max=2).start()
    for _ in range(2):
        await server.create()
    with pytest.raises(Overloaded, match="2 runs are waiting"):
        await server.create()


async def test_a_run_that_is_refused_for_load_displaces_nobody(database: Database) -> None:
    server = await Server(database, pending_max=1).start()
    running = await server.started()
    await server.create(None)
    with pytest.raises(Overloaded):
        await server.create(multitask_strategy="interrupt")
    assert (await server.run(running.run_id)).stop is None  # type: ignore[union-attr]


async def test_resuming_needs_a_thread(server: Server) -> None:
    with pytest.raises(Contradiction, match="thread_id"):
        await server.create(None, command={"resume": 1})


async def test_a_displaced_run_that_never_started_ends_its_log(server: Server) -> None:
    first = await server.create()
    await server.create(multitask_strategy="interrupt")
    assert await server.broker.ended(first.run_id, 0) is not None


class OneSlot:
    """A worker with room for one run."""

    def __init__(self) -> None:
        self.free, self.started = 1, list[Run]()

    worker_id = None

    def reserve(self) -> bool:
        self.free -= 1
        return self.free >= 0 or bool(self.release())

    def release(self) -> None:
        self.free += 1

    def start(self, run: Run) -> None:
        self.started.append(run)


async def test_a_worker_with_room_starts_a_run_in_the_transaction_that_admits_it(server: Server) -> None:
    worker = OneSlot()
    server.runs.start_with(worker)
    run = await server.create()
    assert (run.status, run.attempt, worker.started) == (RunStatus.running, 1, [run])
    assert await server.status(run.run_id) == "running"


async def test_a_worker_without_room_leaves_the_run_waiting(server: Server) -> None:
    worker = OneSlot()
    server.runs.start_with(worker)
    await server.create()
    assert (await server.create(None)).status is RunStatus.pending
    assert worker.free == 0


@pytest.mark.parametrize("fields", [{"after_seconds": 60}, {}])
async def test_a_run_that_has_to_wait_gives_the_slot_back(server: Server, fields: dict[str, Any]) -> None:
    await server.started()  # the thread is busy
    worker = OneSlot()
    server.runs.start_with(worker)
    assert (await server.create(**fields)).status is RunStatus.pending
    assert (worker.free, worker.started) == (1, [])


async def test_a_run_that_is_refused_gives_the_slot_back(server: Server) -> None:
    worker = OneSlot()
    server.runs.start_with(worker)
    with pytest.raises(NotFound):
        await server.create("missing")
    assert worker.free == 1


# ------------------------------------------------------------------------------------- claiming


async def test_a_claimed_run_counts_its_attempt(server: Server) -> None:
    run = await server.started()
    assert (run.status, run.attempt) == (RunStatus.running, 1)


async def test_runs_are_claimed_in_the_order_they_came(server: Server) -> None:
    created = [(await server.create(None)).run_id for _ in range(5)]
    assert [run.run_id for run in await server.attempts.claim(3)] == created[:3]


async def test_two_runs_of_a_thread_are_never_claimed_together(server: Server) -> None:
    first, second = await server.create(), await server.create()
    assert [run.run_id for run in await server.attempts.claim(10)] == [first.run_id]
    assert await server.attempts.claim(10) == []
    await server.attempts.finish((await server.run(first.run_id)), DONE, [])  # type: ignore[arg-type]
    assert [run.run_id for run in await server.attempts.claim(10)] == [second.run_id]


async def test_many_claimers_never_share_a_run(server: Server) -> None:
    created = {(await server.create(None)).run_id for _ in range(40)}
    claims = await asyncio.gather(*(server.attempts.claim(7) for _ in range(12)))
    claimed = [run.run_id for runs in claims for run in runs]
    assert len(claimed) == len(set(claimed)) == 40
    assert set(claimed) == created


async def test_a_delayed_run_is_not_claimed_and_blocks_nobody_behind_it(server: Server) -> None:
    delayed = await server.create(after_seconds=60)
    ready = await server.create()
    assert [run.run_id for run in await server.attempts.claim(10)] == [ready.run_id]
    assert await server.attempts.next_due() == delayed.due_at


async def test_the_schema_refuses_a_second_running_run_of_a_thread(server: Server) -> None:
    """Whatever the claim statement looks like, and whoever writes past it."""
    await server.started()
    insert = (
        "INSERT INTO runs (run_id, thread_id, assistant_id, graph_id, status, metadata, kwargs, "
        "multitask_strategy, created_at, updated_at, due_at) "
        "VALUES ('second', 't', 'a', 'g', 'running', '{}', '{}', 'enqueue', '', '', '')"
    )
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        await server.database.write(lambda tx: tx.exec_driver_sql(insert).rowcount)


async def test_the_schema_refuses_to_set_a_second_run_running(server: Server) -> None:
    await server.started()
    waiting = await server.create()
    change = f"UPDATE runs SET status = 'running' WHERE run_id = '{waiting.run_id}'"
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        await server.database.write(lambda tx: tx.exec_driver_sql(change).rowcount)


async def test_the_schema_lets_other_threads_run_meanwhile(server: Server) -> None:
    await server.started()
    await server.started(None)


# ------------------------------------------------------------------------------------- finishing


async def test_a_finished_run_leaves_status_values_and_an_idle_thread(server: Server) -> None:
    run = await server.started()
    await server.attempts.finish(run, DONE, [Entry("values", b"1")])
    thread = await server.thread()
    assert await server.status(run.run_id) == "success"
    assert thread is not None
    assert (thread.status, thread.values) == (ThreadStatus.idle, b'{"a":1}')
    values, done, end = await server.log(run.run_id)
    assert (values, done.event, end) == (Entry("values", b"1"), "done", Entry(END, b'{"a":1}'))


async def test_of_two_finishes_one_wins(server: Server) -> None:
    run = await server.started()
    await asyncio.gather(
        server.attempts.finish(run, DONE, [Entry("values", b"1")]),
        server.attempts.finish(run, FAILED, [Entry("error", b"2")]),
    )
    status = await server.status(run.run_id)
    thread = await server.thread()
    assert thread is not None
    told = {"success": ("values", "idle"), "error": ("error", "error")}[str(status)]
    assert ((await server.log(run.run_id))[0].event, thread.status.value) == told
    assert [entry.event for entry in await server.log(run.run_id)].count(END) == 1


async def test_a_stale_attempt_changes_nothing_and_says_nothing(server: Server) -> None:
    first = await server.started()
    await server.attempts.recover()
    (second,) = await server.attempts.claim(1)
    await server.attempts.finish(first, FAILED, [Entry("error", b"1")])
    assert (second.attempt, await server.status(first.run_id)) == (2, "running")
    assert await server.log(first.run_id) == []
    await server.attempts.finish(second, DONE, [])
    assert await server.status(first.run_id) == "success"


async def test_a_thread_stays_busy_while_another_run_waits(server: Server) -> None:
    run = await server.started()
    await server.create()
    await server.attempts.finish(run, DONE, [])
    thread = await server.thread()
    assert thread is not None
    assert thread.status is ThreadStatus.busy


async def test_a_run_without_state_leaves_the_threads_values(server: Server) -> None:
    await server.attempts.finish(await server.started(), DONE, [])
    await server.attempts.finish(await server.started(), FAILED, [])
    thread = await server.thread()
    assert thread is not None
    assert (thread.values, thread.error) == (b'{"a":1}', FAILED.error)


async def test_a_success_clears_the_error_of_the_run_before(server: Server) -> None:
    await server.attempts.finish(await server.started(), FAILED, [])
    await server.attempts.finish(await server.started(), DONE, [])
    thread = await server.thread()
    assert thread is not None
    assert (thread.status, thread.error) == (ThreadStatus.idle, None)


async def test_a_rolled_back_run_is_gone(server: Server) -> None:
    run = await server.started()
    await server.attempts.finish(run, Outcome(RunStatus.interrupted, ThreadStatus.idle, rollback=True), [])
    assert await server.run(run.run_id) is None
    assert await server.broker.ended(run.run_id, 0) is not None


@pytest.mark.parametrize(("on_completion", "kept"), [("delete", False), ("keep", True)])
async def test_a_run_without_a_thread_vanishes_unless_it_is_kept(
    server: Server, on_completion: str, kept: bool
) -> None:
    run = await server.started(None, on_completion=on_completion)
    await server.attempts.finish(run, DONE, [])
    assert ((await server.run(run.run_id)) is not None) is kept
    assert ((await server.thread(run.thread_id)) is not None) is kept
    assert await server.broker.ended(run.run_id, 0) == Entry(END, b'{"a":1}')


@pytest.mark.parametrize(
    ("outcome", "returned"),
    [
        (DONE, b'{"a":1}'),
        (Outcome(RunStatus.success, ThreadStatus.idle), b"{}"),
        (Outcome(RunStatus.success, ThreadStatus.idle, b"[1]"), b"[1]"),
        (FAILED, b'{"__error__":{"error":"ValueError","message":"x"}}'),
        (
            Outcome(RunStatus.success, ThreadStatus.interrupted, b'{"a":1}', returned_interrupts=b"[2]"),
            b'{"a":1,"__interrupt__":[2]}',
        ),
        (
            Outcome(RunStatus.success, ThreadStatus.interrupted, b"{}", returned_interrupts=b"[2]"),
            b'{"__interrupt__":[2]}',
        ),
        (
            Outcome(RunStatus.success, ThreadStatus.interrupted, b"[1]", returned_interrupts=b"[2]"),
            b'{"__interrupt__":[2]}',
        ),
    ],
)
async def test_whoever_waits_gets_the_values_with_what_waits_for_an_answer(
    server: Server, outcome: Outcome, returned: bytes
) -> None:
    run = await server.started()
    await server.attempts.finish(run, outcome, [])
    assert await server.broker.ended(run.run_id, 0) == Entry(END, returned)


# ------------------------------------------------------------------------------------- stopping


async def test_a_waiting_run_is_cancelled_at_once(server: Server) -> None:
    run = await server.create()
    await server.runs.cancel(NOBODY, "t", run.run_id, "interrupt", wait=True)
    thread = await server.thread()
    assert thread is not None
    assert (await server.status(run.run_id), thread.status) == ("interrupted", ThreadStatus.idle)


async def test_a_waiting_run_that_is_rolled_back_is_gone(server: Server) -> None:
    run = await server.create()
    await server.runs.cancel(NOBODY, "t", run.run_id, "rollback", wait=True)
    assert await server.run(run.run_id) is None


async def test_the_worker_hears_which_runs_must_stop(server: Server) -> None:
    stopped, left = await server.started(), await server.started(None)
    await server.runs.stop("t", stopped.run_id, "rollback", "because")
    found = await server.attempts.to_stop([stopped.run_id, left.run_id])
    assert found == {stopped.run_id: ("rollback", "because")}


async def test_a_run_that_was_deleted_must_stop_too(server: Server) -> None:
    run = await server.started()
    await server.database.write(lambda tx: threads.remove(tx, "t"))
    assert await server.attempts.to_stop([run.run_id]) == {run.run_id: ("interrupt", "the run was deleted")}


@pytest.mark.parametrize("thread_id", ["t", "other"])
async def test_what_has_ended_or_lies_elsewhere_cannot_be_cancelled(server: Server, thread_id: str) -> None:
    run = await server.started()
    if thread_id == "t":
        await server.attempts.finish(run, DONE, [])
    with pytest.raises(NotFound):
        await server.runs.cancel(NOBODY, thread_id, run.run_id, "interrupt", wait=False)


async def test_cancelling_the_last_waiting_run_without_a_thread_removes_it(server: Server) -> None:
    run = await server.create(None)
    await server.runs.stop(run.thread_id, run.run_id, "interrupt", "because")
    assert await server.thread(run.thread_id) is None


# ------------------------------------------------------------------------------------- watching


async def where(server: Server, run: Run, last_event_id: str | None = None) -> Cursor | None:
    return await server.readers.watch(NOBODY, run.thread_id, run.run_id, last_event_id)


async def test_a_reader_of_a_running_run_begins_now(server: Server) -> None:
    run = await server.started()
    server.broker.append(run.run_id, Entry("values", b"1"))
    assert await where(server, run) == await server.broker.tail(run.run_id)


async def test_a_reader_that_returns_begins_after_its_last_event(server: Server) -> None:
    run = await server.started()
    assert await where(server, run, "7-3") == Cursor(7, 3)


async def test_a_reader_of_a_waiting_run_misses_nothing(server: Server) -> None:
    assert await where(server, await server.create()) == BEGINNING


async def test_a_run_that_has_ended_has_nothing_to_come(server: Server) -> None:
    run = await server.started()
    await server.attempts.finish(run, DONE, [])
    assert await where(server, run) is None


async def test_the_log_of_a_run_that_vanished_can_still_be_read(server: Server) -> None:
    run = await server.started(None)
    await server.attempts.finish(run, DONE, [])
    assert await where(server, run, "7-3") == Cursor(7, 3)
    assert await server.readers.watch(NOBODY, None, run.run_id, None) is None
    with pytest.raises(NotFound):
        await server.readers.watch(NOBODY, "other", run.run_id, None)


async def test_an_unknown_run_is_not_found(server: Server) -> None:
    with pytest.raises(NotFound):
        await server.readers.watch(NOBODY, "t", "missing", None)


# ------------------------------------------------------------------------------------- after a crash


async def test_what_was_running_waits_again_with_its_attempts_counted(server: Server) -> None:
    run = await server.started()
    assert await server.attempts.recover() == 1
    assert await server.status(run.run_id) == "pending"
    (again,) = await server.attempts.claim(1)
    assert (again.run_id, again.attempt) == (run.run_id, 2)


async def test_a_run_that_always_kills_the_process_is_given_up(server: Server) -> None:
    run = await server.started()
    for _ in range(ATTEMPTS_MAX - 1):
        await server.attempts.recover()
        await server.attempts.claim(1)
    assert await server.attempts.recover() == 0
    found, thread = await server.run(run.run_id), await server.thread()
    assert found is not None
    assert thread is not None
    assert (found.status, found.attempt) == (RunStatus.error, ATTEMPTS_MAX)
    assert (found.error or {})["error"] == "RunAbandoned"
    assert thread.status is ThreadStatus.error


async def test_a_run_that_is_given_up_lets_the_next_one_of_its_thread_go(server: Server) -> None:
    await server.started()
    behind = await server.create()
    for _ in range(ATTEMPTS_MAX - 1):
        await server.attempts.recover()
        await server.attempts.claim(1)
    await server.attempts.recover()
    assert [run.run_id for run in await server.attempts.claim(10)] == [behind.run_id]


async def test_what_waited_or_had_ended_is_untouched_by_a_crash(server: Server) -> None:
    ended = await server.started()
    await server.attempts.finish(ended, DONE, [])
    waiting = await server.create()
    assert await server.attempts.recover() == 0
    assert [await server.status(run.run_id) for run in (ended, waiting)] == ["success", "pending"]


async def test_a_run_that_was_asked_to_stop_is_over_after_a_crash_and_never_runs_again(
    server: Server,
) -> None:
    run = await server.started()
    behind = await server.create()
    await server.runs.stop("t", run.run_id, "interrupt", "because")
    assert await server.attempts.recover() == 0
    found = await server.run(run.run_id)
    assert found is not None
    assert (found.status, found.reason) == (RunStatus.interrupted, "because")
    assert [claimed.run_id for claimed in await server.attempts.claim(10)] == [behind.run_id]


async def test_a_run_that_was_asked_to_roll_back_is_gone_after_a_crash(server: Server) -> None:
    run = await server.started()
    await server.runs.stop("t", run.run_id, "rollback", "because")
    await server.attempts.recover()
    thread = await server.thread()
    assert await server.run(run.run_id) is None
    assert thread is not None
    assert thread.status is ThreadStatus.idle


async def test_a_run_that_is_being_stopped_is_not_handed_over(server: Server) -> None:
    run = await server.started()
    await server.runs.stop("t", run.run_id, "interrupt", "because")
    await server.attempts.hand_over([run])
    await server.attempts.recover()
    assert await server.status(run.run_id) == "interrupted"


@only_sqlite
async def test_the_end_of_a_run_is_stored_when_the_disk_has_space_again(server: Server) -> None:
    run = await server.started()
    outcome = Outcome(RunStatus.success, ThreadStatus.idle, b'{"a":"' + b"x" * 100_000 + b'"}')
    await server.database.write(lambda tx: set_pages_max(tx, 1))  # SQLite takes the present size
    ending = asyncio.create_task(server.attempts.finish(run, outcome, []))
    await asyncio.wait([ending], timeout=0.3)
    assert not ending.done()
    assert await server.status(run.run_id) == "running"
    assert [entry.event for entry in await server.log(run.run_id)] == []  # and nobody is told otherwise
    while True:
        with suppress(StorageFull):  # it may share its transaction with the other, which is tried again
            await server.database.write(lambda tx: set_pages_max(tx, 1_000_000))
            break
    await ending
    assert await server.status(run.run_id) == "success"
    assert [entry.event for entry in await server.log(run.run_id)] != []


def set_pages_max(tx: Tx, pages: int) -> None:
    tx.exec_driver_sql(f"PRAGMA max_page_count={pages}")


@pytest.mark.parametrize(
    "ask",
    [
        lambda runs, run: runs.get(NOBODY, "other", run.run_id),
        lambda runs, run: runs.get(NOBODY, "t", "missing"),
    ],
)
async def test_a_run_is_found_on_its_own_thread_alone(
    server: Server, ask: Callable[[Runs, Run], Any]
) -> None:
    run = await server.create()
    assert (await server.runs.get(NOBODY, "t", run.run_id)).run_id == run.run_id
    with pytest.raises(NotFound):
        await ask(server.runs, run)


# ------------------------------------------------------------------------------------- many at once


async def test_a_batch_is_admitted_in_its_order(server: Server) -> None:
    created = await server.runs.create_batch(NOBODY, [RunRequest("g", input=number) for number in range(3)])
    claimed = await server.attempts.claim(10)
    assert [run.run_id for run in claimed] == [run.run_id for run in created]
    assert [run.kwargs["input"] for run in claimed] == [0, 1, 2]


async def test_one_wrong_run_refuses_the_whole_batch(server: Server) -> None:
    with pytest.raises(Invalid):
        await server.runs.create_batch(NOBODY, [RunRequest("g"), RunRequest("nonsense")])
    assert await server.attempts.claim(10) == []


async def test_a_batch_for_which_there_is_no_room_leaves_nothing(database: Database) -> None:
    server = await Server(database, pending_max=2).start()
    with pytest.raises(Overloaded):
        await server.runs.create_batch(NOBODY, [RunRequest("g")] * 3)
    assert await server.attempts.claim(10) == []


async def test_cancelling_many_spares_those_not_meant(server: Server) -> None:
    meant, spared = await server.create(), await server.create()
    elsewhere = await server.create(None)
    await server.runs.cancel_many(NOBODY, RunSelection("t", (meant.run_id, elsewhere.run_id)), "interrupt")
    found = [await server.status(run.run_id) for run in (meant, spared, elsewhere)]
    assert found == ["interrupted", "pending", "pending"]


async def test_cancelling_none_is_not_found(server: Server) -> None:
    with pytest.raises(NotFound):
        await server.runs.cancel_many(NOBODY, RunSelection(), "interrupt")


async def test_the_runs_of_a_thread_are_listed_newest_first(server: Server) -> None:
    created = [(await server.create()).run_id for _ in range(5)]
    await server.create(None)
    found = await server.runs.page(NOBODY, "t", RunPage(limit=2, offset=1))
    assert [run.run_id for run in found] == [created[3], created[2]]


async def test_whoever_joins_after_the_log_is_gone_gets_what_the_row_tells(server: Server) -> None:
    run = await server.started()
    await server.attempts.finish(run, FAILED, [])
    assert await server.readers.returned(NOBODY, "t", run.run_id) is None  # the log still tells
    restarted = Readers(server.database, MemoryBroker(Limits()))
    found = await restarted.returned(NOBODY, "t", run.run_id)
    assert found == b'{"__error__":{"error":"ValueError","message":"x"}}'


# ----------------------------------------------------------------------------------- cancels that come first


async def cancel(server: Server, run_id: str) -> None:
    with pytest.raises(NotFound):
        await server.runs.cancel(NOBODY, "t", run_id, "interrupt", wait=False)


async def test_no_more_early_cancels_are_kept_than_the_table_may_hold(server: Server) -> None:
    def fill(tx: Tx) -> None:
        for number in range(EARLY_CANCELS_MAX - 1):
            names.cancel_early(tx, f"run {number}", "why", now())

    await server.database.write(fill)
    for run_id in ("last", "too many"):
        await cancel(server, run_id)
    assert (await server.create(run_id="last")).status is RunStatus.interrupted
    assert (await server.create(run_id="too many")).status is RunStatus.pending


async def test_an_early_cancel_stops_one_run_once(server: Server) -> None:
    await cancel(server, "early")
    assert (await server.create(run_id="early")).status is RunStatus.interrupted
    assert await server.database.write(lambda tx: names.take_early_cancel(tx, "early")) is None


async def test_the_cancel_of_a_run_whose_stream_outlived_it_is_not_kept(server: Server) -> None:
    run = await server.started(None)
    await server.attempts.finish(run, DONE, [])
    assert await server.run(run.run_id) is None
    await cancel(server, run.run_id)
    assert await server.database.write(lambda tx: names.take_early_cancel(tx, run.run_id)) is None
