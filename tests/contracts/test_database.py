"""What every engine behind `storage.database.Database` promises to those who give it work."""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from fix_database import AnyDatabase, Schema, only_sqlite
from sqlalchemy import column, select, table, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from server.errors import ConfigError, StorageFull
from server.storage.database import BATCH_MAX, Database, SqliteDatabase, Tx
from server.storage.postgres import PostgresDatabase

SECONDS_MAX = 30.0  # the longest that a broken promise keeps a test waiting
WRITERS = {"sqlite": 1, "postgres": 2}  # how many units of work write at the same time
WORDS = "CREATE TABLE words (word TEXT PRIMARY KEY NOT NULL)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "contract.db"


@pytest.fixture
def database(kept_in: str, request: pytest.FixtureRequest, file: Path) -> Iterator[AnyDatabase]:
    if kept_in == "sqlite":
        opened: AnyDatabase = SqliteDatabase(file)
    else:
        schema: Schema = request.getfixturevalue("schema")
        opened = PostgresDatabase(schema.uri, schema=schema.name, connections=WRITERS["postgres"])
        opened.write_now(lambda tx: tx.execute(text("DROP TABLE IF EXISTS words, child, counter")).close())
    opened.write_now(lambda tx: tx.execute(text(WORDS)).rowcount)
    yield opened
    opened.close()


@pytest.fixture
def stored(database: AnyDatabase, request: pytest.FixtureRequest) -> Callable[[], list[str]]:
    """The words that somebody else sees, who has nothing to do with our engine."""
    if isinstance(database, SqliteDatabase):
        return lambda: words_on_disk(database.path)
    uri, query = request.getfixturevalue("postgres").uri, f"SELECT word FROM {database.schema}.words"

    def look() -> list[str]:
        with psycopg.connect(uri) as connection:
            return sorted(row[0] for row in connection.execute(query.encode()))

    return look


def add(*words: str | None) -> Callable[[Tx], tuple[str | None, ...]]:
    """A unit of work that stores words and returns them."""

    def work(tx: Tx) -> tuple[str | None, ...]:
        for word in words:
            tx.execute(text("INSERT INTO words VALUES (:word)"), {"word": word})
        return words

    return work


def words(tx: Tx) -> list[str]:
    return [row.word for row in tx.execute(text("SELECT word FROM words ORDER BY word"))]


def words_on_disk(file: Path) -> list[str]:
    """What somebody sees who opens the file himself."""
    connection = sqlite3.connect(file)
    try:
        return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word")]
    finally:
        connection.close()


class Gate:
    """Work that holds the writer until it is let go: what comes meanwhile shares the next commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, tx: Tx) -> None:
        self._entered.set()
        assert self._open.wait(SECONDS_MAX)

    async def hold(self) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(self._database.write(self))
        assert await asyncio.to_thread(self._entered.wait, SECONDS_MAX)
        return task

    def open(self) -> None:
        self._open.set()


class Gates:
    """As many as there are writers: what comes meanwhile waits."""

    def __init__(self, database: Database, kept_in: str) -> None:
        self._gates = [Gate(database) for _ in range(WRITERS[kept_in])]

    async def hold(self) -> "asyncio.Future[list[None]]":
        return asyncio.gather(*[await gate.hold() for gate in self._gates])

    def open(self) -> None:
        for gate in self._gates:
            gate.open()


async def test_a_unit_of_work_returns_what_it_made(database: Database) -> None:
    assert await database.write(add("a", "b")) == ("a", "b")


async def test_a_unit_of_work_that_fails_leaves_nothing_behind(database: Database) -> None:
    def half(tx: Tx) -> None:
        add("a", "b")(tx)
        raise LookupError("on the way")

    with pytest.raises(LookupError, match="on the way"):
        await database.write(half)
    assert await database.read(words) == []


@only_sqlite
async def test_an_error_in_a_shared_commit_touches_nobody_else(database: Database) -> None:
    gate = Gate(database)
    held = await gate.hold()
    jobs = [database.write(add(word)) for word in ("a", "b", "b", "c")]
    waiting = asyncio.gather(*jobs, return_exceptions=True)
    await asyncio.sleep(0)  # all of them are in the queue now
    gate.open()
    results = await waiting
    await held
    assert [result for result in results if not isinstance(result, Exception)] == [("a",), ("b",), ("c",)]
    assert isinstance(results[2], IntegrityError)
    assert await database.read(words) == ["a", "b", "c"]


async def test_a_result_is_stored_when_it_is_heard_of(
    database: Database, stored: Callable[[], list[str]]
) -> None:
    await database.write(add("a"))
    assert stored() == ["a"]


@only_sqlite
async def test_no_result_is_heard_of_before_the_commit_it_shares(database: Database) -> None:
    first, second = Gate(database), Gate(database)
    held = await first.hold()
    early = asyncio.ensure_future(database.write(add("a")))
    late = asyncio.ensure_future(database.write(second))  # same batch, and it does not end
    await asyncio.sleep(0)
    first.open()
    await held
    assert await asyncio.to_thread(second._entered.wait, SECONDS_MAX)
    # "a" has been stored, but is not committed while its companion is at work.
    assert not early.done()
    assert await database.read(words) == []
    second.open()
    await asyncio.gather(early, late)


async def test_two_hundred_writers_at_once_all_succeed(database: Database) -> None:
    expected = sorted(f"w{number:03}" for number in range(200))
    await asyncio.gather(*(database.write(add(word)) for word in expected))
    assert await database.read(words) == expected


async def test_no_update_is_lost_among_two_hundred_writers_that_lock_what_they_read(
    database: Database,
) -> None:
    locked = select(column("n")).select_from(table("counter")).with_for_update()
    await database.write(lambda tx: tx.execute(text("CREATE TABLE counter (n INT)")).rowcount)
    await database.write(lambda tx: tx.execute(text("INSERT INTO counter VALUES (0)")).rowcount)

    def increment(tx: Tx) -> None:
        n = tx.execute(locked).scalar_one()
        tx.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})

    await asyncio.gather(*(database.write(increment) for _ in range(200)))
    assert await database.read(lambda tx: tx.execute(text("SELECT n FROM counter")).scalar_one()) == 200


@only_sqlite
async def test_what_waits_together_is_committed_together(database: Database) -> None:
    statements: list[str] = []
    # The one connection that writes tells what SQLite is asked to do on it.
    await database.write(lambda tx: _driver(tx).set_trace_callback(statements.append))
    gate = Gate(database)
    held = await gate.hold()
    waiting = asyncio.gather(*(database.write(add(f"w{number}")) for number in range(200)))
    await asyncio.sleep(0)
    statements.clear()
    gate.open()
    await held
    await waiting
    await database.write(lambda tx: _driver(tx).set_trace_callback(None))
    assert statements.count("COMMIT") == 1 + -(-200 // BATCH_MAX)


def _driver(tx: Tx) -> sqlite3.Connection:
    connection = tx.connection.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


async def test_a_read_sees_only_what_is_committed(database: Database) -> None:
    stored, go_on = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        add("a")(tx)
        stored.set()
        assert go_on.wait(SECONDS_MAX)

    writing = asyncio.ensure_future(database.write(slow))
    assert await asyncio.to_thread(stored.wait, SECONDS_MAX)
    assert await database.read(words) == []
    go_on.set()
    await writing
    assert await database.read(words) == ["a"]


async def test_a_read_keeps_its_view_while_others_write(database: Database) -> None:
    looked, go_on = threading.Event(), threading.Event()

    def twice(tx: Tx) -> tuple[list[str], list[str]]:
        before = words(tx)
        looked.set()
        assert go_on.wait(SECONDS_MAX)
        return before, words(tx)

    reading = asyncio.ensure_future(database.read(twice))
    assert await asyncio.to_thread(looked.wait, SECONDS_MAX)
    await database.write(add("a"))  # and a reader keeps no writer waiting
    go_on.set()
    assert await reading == ([], [])


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(DBAPIError):
        await database.read(add("a"))
    assert await database.read(words) == []


async def test_a_failed_read_leaves_its_connection_usable(database: Database) -> None:
    def fail(tx: Tx) -> None:
        raise LookupError

    for _ in range(20):
        with pytest.raises(LookupError):
            await database.read(fail)
    assert await database.read(words) == []


def test_threads_may_write_and_read_without_a_loop(database: Database) -> None:
    expected = sorted(f"w{number:03}" for number in range(100))

    def write_then_read(word: str) -> bool:
        database.write_now(add(word))
        return word in database.read_now(words)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(write_then_read, expected))
    assert database.read_now(words) == expected


@only_sqlite
def test_a_thread_may_read_on_a_connection_of_its_own(database: Database) -> None:
    database.write_now(add("a"))
    threads: set[int] = set()

    def look(tx: Tx) -> list[str]:
        threads.add(threading.get_ident())
        return words(tx)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: asyncio.run(database.read_here(look)), range(20))) == [["a"]] * 20
    assert threading.get_ident() not in threads
    assert asyncio.run(database.read_here(look)) == ["a"]
    assert threading.get_ident() in threads


def test_a_connection_of_ones_own_sees_what_is_committed_since_and_cannot_write(database: Database) -> None:
    assert asyncio.run(database.read_here(words)) == []
    database.write_now(add("a"))
    assert asyncio.run(database.read_here(words)) == ["a"]
    with pytest.raises(DBAPIError):
        asyncio.run(database.read_here(add("b")))
    assert asyncio.run(database.read_here(words)) == ["a"]


def test_a_thread_gets_the_error_of_its_work(database: Database) -> None:
    with pytest.raises(IntegrityError):
        database.write_now(add(None))


@pytest.mark.parametrize("failure", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_work_that_wants_to_end_the_process_only_ends_itself(
    database: Database, failure: type[BaseException]
) -> None:
    def work(tx: Tx) -> None:
        add("a")(tx)
        raise failure

    with pytest.raises(failure):
        database.write_now(work)
    assert database.write_now(add("b")) == ("b",)
    assert database.read_now(words) == ["b"]


@pytest.mark.parametrize("method", ["write", "read"])
async def test_work_that_raises_stop_iteration_reaches_its_caller(database: Database, method: str) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

    def work(tx: Tx) -> None:
        next(iter(()))

    call = asyncio.ensure_future(getattr(database, method)(work))
    done, _ = await asyncio.wait([call], timeout=SECONDS_MAX)
    call.cancel()
    assert done
    assert isinstance(call.exception(), RuntimeError | StopIteration)


async def test_a_caller_that_gives_up_while_waiting_takes_its_work_along(
    database: Database, kept_in: str
) -> None:
    gate = Gates(database, kept_in)
    held = await gate.hold()
    given_up = asyncio.ensure_future(database.write(add("a")))
    kept = asyncio.ensure_future(database.write(add("b")))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    gate.open()
    await asyncio.gather(held, kept)
    assert await database.read(words) == ["b"]


async def test_closing_commits_what_waits(
    database: AnyDatabase, kept_in: str, stored: Callable[[], list[str]]
) -> None:
    gate = Gates(database, kept_in)
    held = await gate.hold()
    expected = sorted(f"w{number:03}" for number in range(2 * BATCH_MAX))
    waiting = [asyncio.ensure_future(database.write(add(word))) for word in expected]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(asyncio.to_thread(database.close))
    gate.open()
    await asyncio.gather(held, closing, *waiting)
    assert stored() == expected


def limit_pages(database: SqliteDatabase, pages: int) -> None:
    """As if the disk were full: SQLite itself refuses to grow the file. Below the present size means that."""
    database.write_now(lambda tx: tx.exec_driver_sql(f"PRAGMA max_page_count={pages}").close())


@only_sqlite
def test_a_full_disk_is_told_as_such_and_nothing_of_the_work_is_stored(
    database: SqliteDatabase, file: Path
) -> None:
    limit_pages(database, 1)
    with pytest.raises(StorageFull, match="database or disk is full"):
        database.write_now(add("a", "b" * 100_000))
    assert words_on_disk(file) == []


@only_sqlite
def test_a_full_disk_does_not_end_the_database(database: SqliteDatabase) -> None:
    limit_pages(database, 1)
    for _ in range(3):
        with pytest.raises(StorageFull):
            database.write_now(add("b" * 100_000))
    assert database.read_now(words) == []
    assert database.write_now(add("small")) == ("small",)
    limit_pages(database, 1_000_000)
    assert database.write_now(add("b" * 100_000)) == ("b" * 100_000,)


@only_sqlite
async def test_whoever_shares_a_commit_with_a_write_that_finds_no_room_is_told_the_truth(
    database: SqliteDatabase, file: Path
) -> None:
    limit_pages(database, 1)
    gate = Gate(database)
    held = await gate.hold()
    jobs = [database.write(add(word)) for word in ("a", "b" * 100_000, "c")]
    waiting = asyncio.gather(*jobs, return_exceptions=True)
    await asyncio.sleep(0)
    gate.open()
    results = await waiting
    await held
    assert isinstance(results[1], StorageFull)
    stored = [word for result in results if not isinstance(result, BaseException) for word in result]
    assert words_on_disk(file) == stored


@only_sqlite
def test_a_work_that_finds_the_whole_transaction_gone_fails_with_all_who_share_it(
    database: SqliteDatabase, file: Path
) -> None:
    """SQLite may give up more than the statement when the disk is full."""

    def work(tx: Tx) -> None:
        add("a")(tx)
        tx.exec_driver_sql("INSERT OR ROLLBACK INTO words VALUES ('a')")

    with pytest.raises(IntegrityError):
        database.write_now(work)
    assert database.write_now(add("b")) == ("b",)
    assert words_on_disk(file) == ["b"]


def test_closing_leaves_one_file_though_other_threads_have_connections_to_the_end(file: Path) -> None:
    database = SqliteDatabase(file)
    database.write_now(lambda tx: tx.execute(text("CREATE TABLE words (word TEXT)")).rowcount)
    assert asyncio.run(database.read_here(words)) == []
    database.write_now(add("a"))
    database.close()
    log = file.with_name(f"{file.name}-wal")
    assert not log.exists() or log.stat().st_size == 0
    alone = shutil.copyfile(file, file.with_name("alone.db"))
    assert words_on_disk(alone) == ["a"]


def test_a_file_that_is_no_database_is_a_clear_mistake(tmp_path: Path) -> None:
    file = tmp_path / "contract.db"
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match=r"cannot open the database .* file is not a database"):
        SqliteDatabase(file)


def test_a_parent_that_goes_takes_its_children_along(database: Database) -> None:
    """Foreign keys hold on every connection, though SQLite forgets them by default."""

    def work(tx: Tx) -> int:
        tx.execute(text("CREATE TABLE child (of TEXT REFERENCES words(word) ON DELETE CASCADE)"))
        add("a")(tx)
        tx.execute(text("INSERT INTO child VALUES ('a')"))
        tx.execute(text("DELETE FROM words"))
        return int(tx.execute(text("SELECT count(*) FROM child")).scalar_one())

    assert database.write_now(work) == 0
