"""A database goes away and comes back while it is used: each work happens once, or says why it did not."""

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fix_postgres import Postgres
from fix_server import eventually
from psycopg import Connection
from sqlalchemy import text

from server.errors import ConfigError, StorageUnavailable
from server.storage import postgres
from server.storage.database import Tx
from server.storage.migrate import migrate
from server.storage.postgres import PostgresDatabase

CONNECTIONS = 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    """One of its own, which these tests stop and kill. It keeps what it has committed."""
    folder = Path(tempfile.mkdtemp(prefix="graphwire-postgres-"))
    made = Postgres(folder)
    yield made
    made.stop("immediate")
    shutil.rmtree(folder)


@pytest.fixture
def open_it(cluster: Postgres, new_schema: Callable[[], str]) -> Iterator[Callable[..., PostgresDatabase]]:
    name, opened = new_schema(), []

    def open_(**options: Any) -> PostgresDatabase:
        opened.append(PostgresDatabase(cluster.uri, schema=name, **{"connections": CONNECTIONS, **options}))
        return opened[-1]

    first = open_()
    migrate(first)
    first.write_now(lambda tx: tx.execute(text("CREATE TABLE words (word TEXT)")).close())
    yield open_
    for database in opened:
        database.close()


def add(word: str) -> Callable[[Tx], None]:
    return lambda tx: tx.execute(text("INSERT INTO words VALUES (:word)"), {"word": word}).close()


def words(tx: Tx) -> list[str]:
    return [row.word for row in tx.execute(text("SELECT word FROM words ORDER BY word"))]


def use_all_connections(database: PostgresDatabase) -> None:
    together = threading.Barrier(CONNECTIONS)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda _: database.read_now(lambda tx: together.wait(10)), range(CONNECTIONS)))


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_works_happen_once_while_the_database_is_started_anew(
    cluster: Postgres, open_it: Callable[..., PostgresDatabase], mode: str
) -> None:
    database = open_it()
    use_all_connections(database)
    told: list[str] = []
    stop = threading.Event()

    def writer(name: int) -> None:
        number = 0
        while not stop.is_set():
            database.write_now(add(f"{name} {number}"))
            told.append(f"{name} {number}")
            number += 1

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        writing = [pool.submit(writer, name) for name in range(CONNECTIONS)]
        for _ in range(2):
            wait_for_more(told)
            cluster.stop(mode)
            cluster.start()
        wait_for_more(told)
        stop.set()
        for each in writing:
            each.result(30)
    assert database.read_now(words) == sorted(told)


def wait_for_more(told: list[str]) -> None:
    deadline, goal = threading.Event(), len(told) + 50
    while len(told) < goal:
        assert not deadline.wait(0.005)


def test_one_broken_connection_is_enough_to_distrust_all_that_are_as_old(
    cluster: Postgres, open_it: Callable[..., PostgresDatabase]
) -> None:
    """Otherwise a work would meet one after the other, and wait longer each time."""
    database = open_it(connections=16, patience=5)
    together = threading.Barrier(16)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: database.read_now(lambda tx: together.wait(10)), range(16)))
    cluster.stop("fast")
    cluster.start()
    tries: list[None] = []

    def work(tx: Tx) -> list[str]:
        tries.append(None)
        return words(tx)

    assert database.read_now(work) == []
    assert len(tries) == 1  # the broken one failed at BEGIN; the next was new


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_whose_answer_is_lost_is_asked_about(
    open_it: Callable[..., PostgresDatabase], monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """The connection breaks just after, or just before, COMMIT has reached the server."""
    database, other = open_it(), open_it()
    execute, broken = Connection.execute, []

    def breaks_once(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        if query == "COMMIT" and not broken:
            broken.append(self.info.backend_pid)
            if committed:
                execute(self, query)
            kill = text("SELECT pg_terminate_backend(:pid, 5000)")
            monkeypatch.setattr(Connection, "execute", execute)
            other.read_now(lambda tx: tx.execute(kill, {"pid": broken[0]}).close())
        return execute(self, query, *arguments, **options)

    monkeypatch.setattr(Connection, "execute", breaks_once)
    database.write_now(add("once"))
    assert broken
    assert database.read_now(words) == ["once"]


def test_a_database_that_stays_away_is_told_in_time_and_waited_for_by_the_patient(
    cluster: Postgres, open_it: Callable[..., PostgresDatabase]
) -> None:
    impatient, patient = open_it(patience=0.3), open_it(patience=30)
    cluster.stop()
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(patient.write_now, add("late"))
            for call in (lambda: impatient.write_now(add("never")), lambda: impatient.read_now(words)):
                with pytest.raises(StorageUnavailable):
                    call()
            assert not waiting.done()
            cluster.start()
            waiting.result(30)
    except BaseException:
        cluster.start()
        raise
    assert patient.read_now(words) == ["late"]


def test_no_more_connections_are_opened_than_allowed_and_who_waits_too_long_is_told(
    open_it: Callable[..., PostgresDatabase],
) -> None:
    database, other = open_it(connections=2, patience=0.3), open_it()
    entered, go_on = threading.Barrier(3), threading.Event()

    def hold(tx: Tx) -> None:
        entered.wait(10)
        assert go_on.wait(10)

    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(database.write_now, hold) for _ in range(2)]
        entered.wait(10)
        with pytest.raises(StorageUnavailable, match="no free connection"):
            database.write_now(add("never"))
        go_on.set()
        for each in held:
            each.result(10)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: database.write_now(add(str(n))), range(20)))
    assert len(other.read_now(words)) == 20
    assert database.engine.pool.checkedin() <= 2  # type: ignore[attr-defined]


def test_a_work_that_goes_on_after_an_error_of_the_database_does_not_seem_to_have_happened(
    open_it: Callable[..., PostgresDatabase],
) -> None:
    database = open_it()

    def work(tx: Tx) -> None:
        add("lost")(tx)
        try:
            tx.execute(text("SELECT 1 / 0"))
        except Exception:
            return

    with pytest.raises(RuntimeError, match="after its transaction had failed"):
        database.write_now(work)
    assert database.read_now(words) == []


@pytest.mark.parametrize("schema", ["", "Upper", "a-b", "a b", "ä", "public; DROP TABLE words"])
def test_a_schema_is_a_plain_name(schema: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a schema"):
        PostgresDatabase("postgresql://localhost/x", schema=schema, connections=1)


async def test_who_cannot_wait_is_refused_in_time_beside_others_who_wait(
    cluster: Postgres, open_it: Callable[..., PostgresDatabase]
) -> None:
    database = open_it()
    door = database.impatient(0.3)
    cluster.stop()
    try:
        waiting = [asyncio.ensure_future(database.write(add(f"{n:02}"))) for n in range(3 * CONNECTIONS)]
        began = time.monotonic()
        refused = [door.write(add("never")) for _ in range(10 * CONNECTIONS)]
        answers = await asyncio.gather(*refused, return_exceptions=True)
        assert {type(answer) for answer in answers} == {StorageUnavailable}
        assert time.monotonic() - began < 5
        assert not any(each.done() for each in waiting)
    finally:
        cluster.start()
    await asyncio.gather(*waiting)
    assert await door.read(words) == [f"{n:02}" for n in range(3 * CONNECTIONS)]


async def test_what_could_not_begin_in_time_never_happens(
    open_it: Callable[..., PostgresDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "BEGIN_SECONDS", 0.2)
    database, entered, go_on = open_it(), threading.Barrier(CONNECTIONS + 1), threading.Event()
    door = database.impatient(2)

    def hold(tx: Tx) -> None:
        entered.wait(30)
        assert go_on.wait(30)

    held = [asyncio.ensure_future(database.write(hold)) for _ in range(CONNECTIONS)]
    await asyncio.to_thread(entered.wait, 30)
    refused = [door.write(add("never")) for _ in range(3 * CONNECTIONS)]
    answers = await asyncio.gather(*refused, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StorageUnavailable}
    go_on.set()
    await asyncio.gather(*held)
    assert await door.read(words) == []


async def test_work_of_the_impatient_that_has_begun_takes_the_time_it_takes(
    open_it: Callable[..., PostgresDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "BEGIN_SECONDS", 0.1)
    door = open_it().impatient(2)
    await door.write(lambda tx: tx.execute(text("SELECT pg_sleep(0.5)")).close())


def test_work_whose_transaction_was_ended_because_nothing_was_heard_of_it_is_done_anew(
    open_it: Callable[..., PostgresDatabase],
) -> None:
    other, database = open_it(), open_it(idle_seconds=0.1)
    tries: list[int] = []

    def there(pid: int) -> bool:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
        return other.read_now(lambda tx: bool(tx.execute(query, {"pid": pid}).scalar_one()))

    def work(tx: Tx) -> None:
        tries.append(tx.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        add("a")(tx)
        if len(tries) == 1:
            assert eventually(lambda: not there(tries[0]))
        add("b")(tx)

    database.write_now(work)
    assert len(tries) == 2
    assert database.read_now(words) == ["a", "b"]
