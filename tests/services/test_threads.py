"""How threads begin, change, expire, are copied and go; on a real database and log."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fix_database import only_sqlite
from sqlalchemy import text

from server.clock import new_id, now
from server.errors import Conflict, Invalid, NotFound, Overloaded, TooLarge
from server.models import METADATA_BYTES_MAX, Caller, Outcome, Page, Run, RunStatus, Thread, ThreadStatus
from server.rules.threads import (
    Keep,
    NewThread,
    PruneStrategy,
    RetentionRules,
    ThreadFields,
    ThreadQuery,
    Ttl,
)
from server.services import erasure, expiry, retention, thread_copy, thread_search
from server.services.erasure import Eraser
from server.services.expiry import Expiry
from server.services.retention import Retention
from server.services.thread_copy import ThreadCopies
from server.services.thread_search import ThreadSearch
from server.services.threads import METADATA_KEYS_MAX, Threads
from server.storage import pruning, runs, ttls
from server.storage import threads as statements
from server.storage.database import Database, Tx
from server.storage.postgres import PostgresDatabase
from server.streaming.broker import GONE
from server.streaming.log import Limits
from server.streaming.memory import MemoryBroker
from server.streaming.signals import LocalSignals

NOBODY = Caller()
AT_ONCE = 1e-9  # minutes: over as soon as anybody looks
SOON = Ttl(PruneStrategy.delete, AT_ONCE)
LONG = Ttl(PruneStrategy.delete, 60)
ADD_CHECKPOINT = {
    "sqlite": text(
        "INSERT INTO checkpoints VALUES (:thread, :ns, :id, :parent, 'msgpack', :blob, :metadata)"
    ),
    "postgresql": text(
        "INSERT INTO checkpoints VALUES (:thread, :ns, :id, :parent, 'msgpack', "
        "jsonb_build_object('x', encode(:blob, 'escape')), convert_from(:metadata, 'UTF8')::jsonb)"
    ),
}
ADD_WRITE = {
    "sqlite": text(
        "INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, "
        "type, value) VALUES (:thread, :ns, :id, 'task', '', 0, 'c', 'msgpack', :blob)"
    ),
    "postgresql": text(
        "INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, "
        "channel, type, blob) VALUES (:thread, :ns, :id, 'task', '', 0, 'c', 'msgpack', :blob)"
    ),
}


class Server:
    """Everything that is about threads, without a worker and without a clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.writes = "checkpoint_writes" if isinstance(database, PostgresDatabase) else "writes"
        self.broker = MemoryBroker(Limits())
        self.signals = LocalSignals()
        self.threads = Threads(self.database, self.broker, self.signals)
        self.eraser = Eraser(self.database, self.broker, self.signals)
        self.copies = ThreadCopies(self.database)
        self.retention = Retention(self.database, self.eraser)

    def expiry(self, default_ttl: Ttl | None = None, **rules: Any) -> Expiry:
        return Expiry(self.database, self.eraser, RetentionRules(default_ttl, **rules))

    async def new(self, **said: Any) -> str:
        return (await self.threads.create(NOBODY, NewThread(**said))).thread_id

    async def past(self, thread_id: str, count: int, size: int = 10, namespace: str = "") -> list[str]:
        """Give a thread checkpoints; returns their ids, the oldest first."""
        ids = [f"1f{number:06}-0000-6000-8000-{len(namespace):012}" for number in range(count)]

        def work(tx: Tx) -> None:
            for number, id_ in enumerate(ids):
                told = {"thread": thread_id, "ns": namespace, "id": id_, "blob": b"x" * size}
                metadata = json.dumps({"thread_id": thread_id, "step": number, "pi": 0.1}).encode()
                parent = ids[number - 1] if number else None
                tx.execute(ADD_CHECKPOINT[tx.dialect.name], {**told, "parent": parent, "metadata": metadata})
                tx.execute(ADD_WRITE[tx.dialect.name], told)

        await self.database.write(work)
        return ids

    async def rows(self, query: str, **arguments: Any) -> list[tuple[Any, ...]]:
        statement = text(query.replace("FROM writes", f"FROM {self.writes}"))
        return await self.database.read(lambda tx: [tuple(row) for row in tx.execute(statement, arguments)])

    async def kept(self, thread_id: str) -> dict[str, int]:
        """How many rows of each table belong to a thread."""
        tables = ("threads", "runs", "checkpoints", "writes", "thread_ttls", "thread_copies")
        counts = [f"(SELECT count(*) FROM {table} WHERE thread_id = :id)" for table in tables]
        (found,) = await self.rows(f"SELECT {', '.join(counts)}", id=thread_id)
        return {table: count for table, count in zip(tables, found, strict=True) if count}

    async def run(self, thread_id: str, status: RunStatus) -> str:
        """Give a thread a run that waits, runs or has ended."""
        at, run_id = now(), new_id()
        run = Run(run_id, thread_id, "a", "g", status, {}, {}, "enqueue", at, at, due_at=at, attempt=1)

        def work(tx: Tx) -> None:
            runs.add(tx, run)
            if status.active:
                statements.begin_run(tx, thread_id, {}, at)

        await self.database.write(work)
        self.broker.open(run_id, thread_id)
        return run_id

    async def ids(self) -> set[str]:
        return {row[0] for row in await self.rows("SELECT thread_id FROM threads")}


@pytest.fixture
async def server(database: Database) -> Server:
    return Server(database)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions that take away or copy no more than three checkpoints."""
    monkeypatch.setattr(pruning, "SLICE_PIECES", 3)


@pytest.fixture
def between(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], Any]]:
    """What is in the list is done after each transaction, as somebody else would do it."""
    doing: list[Callable[[], Any]] = []
    write = server.database.write

    async def write_and_do(work: Callable[[Tx], Any]) -> Any:
        found = await write(work)
        for do in [*doing]:
            await do()
        return found

    monkeypatch.setattr(server.database, "write", write_and_do)
    return doing


# ---------------------------------------------------------------------------------- metadata and TTL


async def test_metadata_are_merged_key_by_key_without_the_names_of_the_server(server: Server) -> None:
    thread_id = await server.new(metadata={"a": 1, "n": {"x": 1}, "run_id": "r", "assistant_id": "a"})
    found = await server.threads.update(
        NOBODY, thread_id, {"n": {"y": 2}, "b": None, "thread_id": "t", "graph_id": "g"}, None
    )
    assert found.metadata == {"a": 1, "n": {"y": 2}, "b": None, "graph_id": "g"}
    assert found == await server.threads.get(NOBODY, thread_id)
    assert found.updated_at > found.created_at == found.state_updated_at


async def test_metadata_stay_small_however_they_are_put_together(server: Server) -> None:
    half = "x" * (METADATA_BYTES_MAX // 2)
    thread_id = await server.new(metadata={"a": half})
    with pytest.raises(Invalid, match="metadata: must be at most 65536 bytes"):
        await server.threads.update(NOBODY, thread_id, {"b": half}, None)
    many = {f"k{number}": 1 for number in range(METADATA_KEYS_MAX)}
    with pytest.raises(Invalid, match="metadata: must have at most 1000 keys"):
        await server.threads.update(NOBODY, thread_id, many, None)
    with pytest.raises(Invalid, match="metadata: must have at most 1000 keys"):
        await server.new(metadata={**many, "one": "more"})
    assert (await server.threads.get(NOBODY, thread_id)).metadata == {"a": half}
    await server.threads.update(NOBODY, thread_id, {"a": ""}, None)
    await server.threads.update(NOBODY, thread_id, {"b": half}, None)


async def test_a_ttl_counts_from_the_last_change(server: Server) -> None:
    thread_id = await server.new(ttl=LONG)
    created, ttl = await server.threads.get_with_ttl(NOBODY, thread_id)
    changed = await server.threads.update(NOBODY, thread_id, {}, None)
    _, later = await server.threads.get_with_ttl(NOBODY, thread_id)
    assert ttl
    assert later
    assert ttl.expires_at[14:] == created.updated_at[14:]  # an hour later
    assert later.expires_at[14:] == changed.updated_at[14:]
    await server.threads.update(NOBODY, thread_id, {}, Ttl(PruneStrategy.keep_latest, 1.5))
    _, other = await server.threads.get_with_ttl(NOBODY, thread_id)
    assert other
    assert (other.strategy, other.minutes) == (PruneStrategy.keep_latest, 1.5)


async def test_a_thread_without_a_ttl_lives_for_ever(server: Server) -> None:
    thread_id = await server.new()
    assert (await server.threads.get_with_ttl(NOBODY, thread_id))[1] is None
    await server.expiry().sweep()
    assert await server.ids() == {thread_id}


async def test_what_is_not_there_is_not_found(server: Server) -> None:
    for call in (
        server.threads.get(NOBODY, "t"),
        server.threads.get_with_ttl(NOBODY, "t"),
        server.threads.update(NOBODY, "t", {}, None),
        server.threads.delete(NOBODY, "t"),
        server.copies.copy(NOBODY, "t"),
        server.retention.usage(NOBODY, "t"),
    ):
        with pytest.raises(NotFound, match="Thread with ID t not found"):
            await call


# ---------------------------------------------------------------------------------- expiry


async def test_a_thread_whose_time_has_come_is_gone_with_all_it_had(server: Server) -> None:
    gone, stays = await server.new(ttl=SOON), await server.new(ttl=LONG)
    await server.past(gone, 3)
    await server.run(gone, RunStatus.success)
    here = await server.broker.tail_of_thread(gone)
    await server.expiry().sweep()
    assert await server.ids() == {stays}
    assert await server.kept(gone) == {}
    followed = await server.broker.follow(gone, here, 0)
    assert [entry.event for entry in followed.entries] == [GONE]


async def test_of_a_thread_that_keeps_its_latest_state_the_past_goes_again_and_again(server: Server) -> None:
    thread_id = await server.new(ttl=Ttl(PruneStrategy.keep_latest, AT_ONCE))
    sweeping = server.expiry(sweep_seconds=0)
    for _ in range(2):
        await server.database.write(
            lambda tx: tx.execute(text("DELETE FROM checkpoints")).rowcount  # to begin anew
        )
        await server.database.write(lambda tx: tx.execute(text(f"DELETE FROM {server.writes}")).rowcount)
        ids = await server.past(thread_id, 3)
        await sweeping.sweep()
        assert await server.rows("SELECT checkpoint_id FROM checkpoints") == [(ids[-1],)]
        assert await server.kept(thread_id) == {
            "threads": 1,
            "checkpoints": 1,
            "writes": 1,
            "thread_ttls": 1,
        }


@pytest.mark.parametrize("strategy", [*PruneStrategy])
@pytest.mark.parametrize("status", [RunStatus.pending, RunStatus.running])
async def test_a_busy_thread_is_not_swept(server: Server, strategy: PruneStrategy, status: RunStatus) -> None:
    thread_id = await server.new(ttl=Ttl(strategy, AT_ONCE))
    await server.past(thread_id, 3)
    await server.run(thread_id, status)
    await server.expiry(sweep_seconds=0, keep=Keep(checkpoints=1)).sweep()
    assert (await server.kept(thread_id))["checkpoints"] == 3


async def test_a_thread_that_changed_in_time_lives_on(server: Server) -> None:
    thread_id = await server.new(ttl=LONG)
    early = {thread_id: "2000-01-01T00:00:00.000000+00:00"}  # as if it had been looked at long ago
    await server.database.write(lambda tx: ttls.postpone(tx, early))
    await server.expiry().sweep()
    assert await server.ids() == {thread_id}
    _, ttl = await server.threads.get_with_ttl(NOBODY, thread_id)
    ((noted,),) = await server.rows("SELECT expires_at FROM thread_ttls")
    assert ttl
    assert noted == ttl.expires_at


async def test_a_run_that_comes_at_the_last_moment_saves_the_thread(
    server: Server, between: list[Callable[[], Any]]
) -> None:
    thread_id = await server.new(ttl=SOON)

    async def start() -> None:
        between.clear()
        await server.run(thread_id, RunStatus.pending)

    between.append(start)  # after the sweep has chosen its threads
    await server.expiry().sweep()
    assert await server.kept(thread_id) == {"threads": 1, "runs": 1, "thread_ttls": 1}


async def test_what_is_configured_holds_for_threads_that_are_made_then_and_say_nothing(
    server: Server,
) -> None:
    before = await server.new()
    await server.expiry(default_ttl=SOON).begin()
    own, by_default = await server.new(ttl=LONG), await server.new()
    # As an admission makes one.
    await server.database.write(
        lambda tx: statements.add(
            tx, Thread("implicit", now(), now(), now(), {}, ThreadStatus.idle, {}, None, None)
        )
    )
    _, ttl = await server.threads.get_with_ttl(NOBODY, by_default)
    assert ttl
    assert (ttl.strategy, ttl.minutes) == (PruneStrategy.delete, AT_ONCE)
    await server.expiry(default_ttl=None).begin()  # the next start, without
    after = await server.new()
    await server.expiry().sweep()
    assert await server.ids() == {before, own, after}


async def test_when_a_default_is_over_is_computed_to_the_millisecond(server: Server) -> None:
    await server.expiry(default_ttl=Ttl(PruneStrategy.delete, 90.5)).begin()
    thread = await server.threads.create(NOBODY, NewThread())
    ((noted,),) = await server.rows("SELECT expires_at FROM thread_ttls")
    _, ttl = await server.threads.get_with_ttl(NOBODY, thread.thread_id)
    assert ttl
    assert noted[:23] == ttl.expires_at[:23]
    assert len(noted) == len(ttl.expires_at)


async def test_a_sweep_takes_no_more_than_its_limit(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "AT_ONCE", 2)
    for _ in range(7):
        await server.new(ttl=SOON)
    sweeping = server.expiry(sweep_limit=3)
    for left in (4, 1, 0):
        await sweeping.sweep()
        assert len(await server.ids()) == left


async def test_a_thread_that_cannot_be_swept_stops_the_others_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = await server.new(ttl=SOON)
    other = await server.new(ttl=SOON)
    erase = server.eraser.erase

    async def failing(thread_id: str, *rest: Any) -> bool:
        if thread_id == poison:
            raise RuntimeError("malformed")
        return await erase(thread_id, *rest)

    monkeypatch.setattr(server.eraser, "erase", failing)
    monkeypatch.setattr(expiry, "AT_ONCE", 1)
    sweeping = server.expiry()
    with pytest.raises(RuntimeError):
        await sweeping.sweep()
    await sweeping.sweep()
    assert await server.ids() == {poison}
    assert other not in await server.ids()


async def test_the_past_beyond_what_is_kept_goes_in_all_threads(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "PAGE", 2)
    made = [await server.new() for _ in range(5)]
    for count, thread_id in enumerate(made):
        await server.past(thread_id, count)
    await server.expiry(keep=Keep(checkpoints=2)).sweep()
    assert [(await server.kept(thread_id)).get("checkpoints", 0) for thread_id in made] == [0, 1, 2, 2, 2]


async def test_shortening_is_limited_too_and_goes_on(server: Server) -> None:
    made = [await server.new() for _ in range(5)]
    for thread_id in made:
        await server.past(thread_id, 2)
    sweeping = server.expiry(keep=Keep(checkpoints=1), sweep_limit=2)
    for left in (8, 6, 5):
        await sweeping.sweep()
        assert (await server.rows("SELECT count(*) FROM checkpoints")) == [(left,)]


# ---------------------------------------------------------------------------------- taking away


async def test_a_long_past_goes_in_small_transactions_before_the_thread(
    server: Server, small: None, between: list[Callable[[], Any]]
) -> None:
    thread_id = await server.new(metadata={"a": 1})
    ids = await server.past(thread_id, 11)
    seen: list[int] = []

    async def look() -> None:
        found = await server.rows("SELECT checkpoint_id FROM checkpoints ORDER BY 1")
        seen.append(len(found))
        if await server.ids():  # whatever happens now, the thread has its latest state
            assert found[-1] == (ids[-1],)

    between.append(look)
    await server.threads.delete(NOBODY, thread_id)
    assert seen == [11, 8, 5, 2, 1, 1, 1, 0]
    assert max(before - after for before, after in zip([11, *seen], seen, strict=False)) <= 3
    assert await server.kept(thread_id) == {}


async def test_a_short_past_goes_with_the_thread(server: Server, between: list[Callable[[], Any]]) -> None:
    thread_id = await server.new()
    await server.past(thread_id, 11)
    transactions = 0

    async def count() -> None:
        nonlocal transactions
        transactions += 1

    between.append(count)
    await server.threads.delete(NOBODY, thread_id)
    assert transactions == 2  # runs are stopped, then it goes
    assert await server.kept(thread_id) == {}


async def test_many_runs_go_before_the_thread(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "RUNS_AT_ONCE", 4)
    thread_id = await server.new()
    for _ in range(14):
        await server.run(thread_id, RunStatus.success)
    await server.threads.delete(NOBODY, thread_id)
    assert await server.kept(thread_id) == {}


async def test_a_run_that_is_admitted_while_a_thread_goes_is_told_so(
    server: Server, small: None, between: list[Callable[[], Any]]
) -> None:
    thread_id = await server.new()
    await server.past(thread_id, 11)
    admitted: list[str] = []

    async def start() -> None:
        if (await server.kept(thread_id))["checkpoints"] < 11:
            between.clear()
            admitted.append(await server.run(thread_id, RunStatus.pending))

    between.append(start)
    await server.threads.delete(NOBODY, thread_id)
    assert await server.kept(thread_id) == {}
    end = await server.broker.ended(admitted[0], 0)
    assert end
    assert json.loads(end.data)["__run__"]["outcome"] == "deleted"


async def test_pruning_counts_what_was_done(server: Server) -> None:
    one, two, busy = [await server.new() for _ in range(3)]
    for thread_id in (one, two, busy):
        await server.past(thread_id, 3)
    await server.run(busy, RunStatus.pending)
    keep_latest, delete = PruneStrategy.keep_latest, PruneStrategy.delete
    asked = [one, "unknown", busy, one]
    assert await server.retention.prune(NOBODY, asked, keep_latest) == 1
    assert [(await server.kept(each))["checkpoints"] for each in (one, two, busy)] == [1, 3, 3]
    assert await server.retention.prune(NOBODY, asked, delete) == 2
    assert await server.ids() == {two}
    assert await server.retention.prune(NOBODY, [], delete) == 0


async def test_pruning_changes_nothing_that_a_thread_shows(server: Server) -> None:
    thread_id = await server.new(ttl=LONG)
    await server.past(thread_id, 3)
    before = await server.threads.get_with_ttl(NOBODY, thread_id)
    await server.retention.prune(NOBODY, [thread_id], PruneStrategy.keep_latest)
    assert await server.threads.get_with_ttl(NOBODY, thread_id) == before


async def test_a_run_that_comes_while_a_past_goes_keeps_the_rest_of_it(
    server: Server, small: None, between: list[Callable[[], Any]]
) -> None:
    thread_id = await server.new()
    await server.past(thread_id, 11)

    async def start() -> None:
        between.clear()
        await server.run(thread_id, RunStatus.pending)

    between.append(start)
    assert await server.retention.prune(NOBODY, [thread_id], PruneStrategy.keep_latest) == 0
    assert (await server.kept(thread_id))["checkpoints"] == 8


# ---------------------------------------------------------------------------------- copies

CHECKPOINTS = (
    "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, CAST(metadata AS TEXT) "
    "FROM checkpoints WHERE thread_id = :id ORDER BY 1, 2"
)
WRITES = "SELECT * FROM writes WHERE thread_id = :id ORDER BY 2, 3"


async def finished(server: Server, thread_id: str, **outcome: Any) -> Thread:
    """A thread on which a run has ended."""
    told = Outcome(RunStatus.success, ThreadStatus.idle, **outcome)
    await server.database.write(
        lambda tx: statements.set_outcome(tx, thread_id, told, told.thread_status, now())
    )
    return await server.threads.get(NOBODY, thread_id)


async def past_of(server: Server, thread_id: str) -> list[Any]:
    """All that a thread has kept, with its id taken out."""
    checkpoints = await server.rows(CHECKPOINTS, id=thread_id)
    told = [(*row[:-1], {**json.loads(row[-1]), "thread_id": None}) for row in checkpoints]
    assert {json.loads(row[-1])["thread_id"] for row in checkpoints} <= {thread_id}
    return [*told, *(row[1:] for row in await server.rows(WRITES, id=thread_id))]


async def test_a_copy_has_the_same_past_and_shows_the_same(server: Server) -> None:
    thread_id = await server.new(metadata={"owner": "u1", "n": {"pi": 3.141592653589793}}, ttl=LONG)
    await server.past(thread_id, 3)
    await server.past(thread_id, 2, namespace="child:1")
    await server.run(thread_id, RunStatus.success)
    source = await finished(
        server, thread_id, values=b'{"big":123456789012345678901234567890}', interrupts=b'{"t":[1]}'
    )
    copy = await server.copies.copy(NOBODY, thread_id)
    assert copy.thread_id != thread_id
    assert copy.created_at == copy.updated_at == copy.state_updated_at > source.updated_at
    shown = {"thread_id": "", "created_at": "", "updated_at": "", "state_updated_at": ""}
    assert replace(copy, **shown) == replace(source, **shown)
    assert await past_of(server, copy.thread_id) == await past_of(server, thread_id)
    assert len(await past_of(server, thread_id)) == 10
    assert await server.kept(copy.thread_id) == {
        "threads": 1,
        "checkpoints": 5,
        "writes": 5,
        "thread_ttls": 1,
    }
    _, ttl = await server.threads.get_with_ttl(NOBODY, copy.thread_id)
    assert ttl
    assert ttl.expires_at[14:] == copy.updated_at[14:]
    found = ThreadQuery(metadata={"owner": "u1"})
    assert await ThreadSearch(server.database).count(NOBODY, found) == 2


async def test_numbers_in_what_is_copied_keep_their_digits(server: Server) -> None:
    thread_id = await server.new()
    await server.past(thread_id, 1)
    copy = await server.copies.copy(NOBODY, thread_id)
    ((_, _, _, _, _, metadata),) = await server.rows(CHECKPOINTS, id=copy.thread_id)
    assert '"pi":0.1' in metadata.replace(" ", "")


async def test_a_copy_and_its_source_go_their_own_ways(server: Server) -> None:
    thread_id = await server.new()
    await server.past(thread_id, 3)
    copy = await server.copies.copy(NOBODY, thread_id)
    await server.threads.delete(NOBODY, thread_id)
    assert await server.kept(copy.thread_id) == {"threads": 1, "checkpoints": 3, "writes": 3}
    again = await server.copies.copy(NOBODY, copy.thread_id)
    await server.threads.delete(NOBODY, copy.thread_id)
    assert await server.kept(again.thread_id) == {"threads": 1, "checkpoints": 3, "writes": 3}


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ({}, ThreadStatus.idle),
        ({"interrupts": b'{"t":[1]}'}, ThreadStatus.interrupted),
        ({"error": {"error": "E", "message": "m"}}, ThreadStatus.error),
    ],
)
async def test_a_copy_of_a_busy_thread_is_not_busy(
    server: Server, outcome: dict[str, Any], status: ThreadStatus
) -> None:
    thread_id = await server.new()
    await finished(server, thread_id, **outcome)
    await server.run(thread_id, RunStatus.running)
    assert (await server.copies.copy(NOBODY, thread_id)).status is status


async def test_a_long_past_is_copied_in_small_transactions_and_seen_when_it_is_whole(
    server: Server, small: None, between: list[Callable[[], Any]]
) -> None:
    thread_id = await server.new()
    await server.past(thread_id, 10)
    seen: list[tuple[int, int]] = []

    async def look() -> None:
        ((copied,),) = await server.rows(
            "SELECT count(*) FROM checkpoints WHERE thread_id != :id", id=thread_id
        )
        seen.append((len(await server.ids()), copied))

    between.append(look)
    copy = await server.copies.copy(NOBODY, thread_id)
    assert seen == [(1, 0), (1, 3), (1, 6), (1, 9), (2, 10)]
    assert await past_of(server, copy.thread_id) == await past_of(server, thread_id)
    assert await server.kept(copy.thread_id) == {"threads": 1, "checkpoints": 10, "writes": 10}


async def test_a_thread_that_changes_while_it_is_copied_is_copied_anew(
    server: Server, small: None, between: list[Callable[[], Any]]
) -> None:
    thread_id = await server.new()
    await server.past(thread_id, 10)
    changes = 3

    async def change() -> None:
        nonlocal changes
        if changes:
            changes -= 1
            between.remove(change)
            await server.threads.update(NOBODY, thread_id, {"changes": changes}, None)
            between.append(change)

    between.append(change)
    copy = await server.copies.copy(NOBODY, thread_id)
    assert copy.metadata == {"changes": 0}
    assert await server.rows("SELECT DISTINCT thread_id FROM checkpoints ORDER BY 1") == [
        (each,) for each in sorted((thread_id, copy.thread_id))
    ]


async def test_a_thread_that_never_stops_changing_is_not_copied_and_nothing_is_left(
    server: Server, small: None, between: list[Callable[[], Any]]
) -> None:
    thread_id = await server.new()
    await server.past(thread_id, 10)

    async def change() -> None:
        between.remove(change)
        await server.threads.update(NOBODY, thread_id, {}, None)
        between.append(change)

    between.append(change)
    with pytest.raises(Conflict, match="keeps changing while it is copied"):
        await server.copies.copy(NOBODY, thread_id)
    assert await server.rows("SELECT DISTINCT thread_id FROM checkpoints") == [(thread_id,)]
    assert await server.rows("SELECT * FROM thread_copies") == []


async def test_what_a_copy_under_way_left_behind_goes_at_the_next_start(
    server: Server, small: None, between: list[Callable[[], Any]]
) -> None:
    thread_id = await server.new()
    await server.past(thread_id, 10)
    left = 3

    async def crash() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise RuntimeError("the process is gone")

    between.append(crash)
    with pytest.raises(RuntimeError):
        await server.copies.copy(NOBODY, thread_id)
    between.clear()
    assert len(await server.rows("SELECT DISTINCT thread_id FROM checkpoints")) == 2
    await server.expiry().discard_copies()
    assert await server.rows("SELECT DISTINCT thread_id FROM checkpoints") == [(thread_id,)]
    assert await server.rows("SELECT DISTINCT thread_id FROM writes") == [(thread_id,)]
    assert await server.rows("SELECT * FROM thread_copies") == []
    assert await server.ids() == {thread_id}


async def test_a_past_without_end_is_not_copied(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_copy, "PIECES_MAX", 3)
    thread_id = await server.new()
    await server.past(thread_id, 4)
    with pytest.raises(TooLarge, match="has more than 3 checkpoints: prune it first"):
        await server.copies.copy(NOBODY, thread_id)


# ---------------------------------------------------------------------------------- what a thread takes


@only_sqlite
async def test_every_byte_of_a_thread_is_counted_once(server: Server) -> None:
    thread_id = await server.new()
    await server.past(thread_id, 45, size=100)  # blobs that nobody can take apart: they count as a whole
    found = await server.retention.usage(NOBODY, thread_id)
    ((bytes_, writes),) = await server.rows(
        "SELECT (SELECT sum(length(checkpoint) + length(metadata)) FROM checkpoints), "
        "(SELECT sum(length(value)) FROM writes)"
    )
    assert (found.checkpoints.count, found.checkpoints.bytes) == (45, bytes_)
    assert (found.pending_writes.count, found.pending_writes.bytes) == (45, writes)
    assert found.by_channel == {}


async def test_a_past_without_end_is_not_summed_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHECKPOINTS_MAX", 30)
    thread_id = await server.new()
    await server.past(thread_id, 45)
    with pytest.raises(TooLarge):
        await server.retention.usage(NOBODY, thread_id)


# ---------------------------------------------------------------------------------- searches


async def test_searches_leave_readers_to_others_and_wait_for_their_turn(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await server.new()
    held, count = threading.Event(), thread_search.statements.count

    def slow(tx: Tx, query: ThreadQuery, *_: object) -> int:
        held.wait(10)
        return count(tx, query)

    monkeypatch.setattr(thread_search.statements, "count", slow)
    search = ThreadSearch(server.database)
    counting = [asyncio.create_task(search.count(NOBODY, ThreadQuery())) for _ in range(8)]
    for _ in range(20):  # others are answered meanwhile
        assert (await server.threads.get(NOBODY, thread_id)).thread_id == thread_id
    assert not any(each.done() for each in counting)
    held.set()
    assert await asyncio.gather(*counting) == [1] * 8


async def test_a_search_does_not_wait_for_ever(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_search, "WAIT_SECONDS", 0.02)
    held, begun = threading.Event(), threading.Barrier(3)

    def slow(tx: Tx, query: ThreadQuery, *_: object) -> int:
        begun.wait(10)
        held.wait(10)
        return 7

    monkeypatch.setattr(thread_search.statements, "count", slow)
    search = ThreadSearch(server.database)
    under_way = [asyncio.create_task(search.count(NOBODY, ThreadQuery())) for _ in range(2)]
    await asyncio.to_thread(begun.wait, 10)
    with pytest.raises(Overloaded, match="Earlier searches take too long"):
        await search.search(NOBODY, ThreadQuery(), Page(), ThreadFields())
    held.set()
    assert await asyncio.gather(*under_way) == [7, 7]
    assert await search.search(NOBODY, ThreadQuery(), Page(), ThreadFields()) == ([], 0)
