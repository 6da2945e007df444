"""Transactions. A unit of work is a function of a connection; the database runs it, whole or not at all.

Work is written once, synchronously, for every engine. On SQLite one thread writes: whatever waits while it
commits shares the next commit (group commit), so a commit costs one fsync for many callers and nobody ever
meets a locked database. Readers have connections of their own and never wait for the writer (WAL).
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ..errors import ConfigError, StorageFull
from ..telemetry.levels import Pool

Tx = Connection
T = TypeVar("T")

BATCH_MAX = 64  # how many units of work may share one commit: bounds how long the first of them waits
READERS = 4
CLOSING_MS = 500  # how long readers may keep the log from being brought home when the database is closed

# What SQLite says where a disk takes no more: full, over a quota, beyond the largest size of a file.
_NO_SPACE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class Database(Protocol):
    """Runs units of work. Errors of the work roll back that work alone and reach its caller."""

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in a transaction; returns once it is committed. Raises StorageFull: nothing happened."""

    async def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work` on a consistent view without writing."""

    def write_now(self, work: Callable[[Tx], T]) -> T:
        """`write` for a thread that may block."""

    def read_now(self, work: Callable[[Tx], T]) -> T:
        """`read` for a thread that may block."""

    async def read_here(self, work: Callable[[Tx], T]) -> T:
        """`read` from a lane. Where a small read takes less time than the way to another thread and back,
        it is made on the thread that calls, which gets a connection of its own."""

    def pool(self) -> Pool:
        """The connections, and how many units of work wait for one."""


@dataclass(slots=True)
class _Job:
    work: Callable[[Tx], Any]
    future: Future[Any]


class SqliteDatabase:
    """The embedded engine: one file, one writing thread, a few readers. Raises ConfigError."""

    def __init__(self, path: Path, *, synchronous: str = "FULL") -> None:
        self.path = path
        self._engine = create_engine(
            f"sqlite:///{path}",
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",  # transactions are ours to begin and end
            hide_parameters=True,  # users' data, in the texts of errors and so in the log
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={"check_same_thread": False, "cached_statements": 512},
        )
        _set_pragmas(self._engine, synchronous)
        try:
            self._connection = self._engine.connect()  # the writer's
        except (DBAPIError, sqlite3.Error) as failure:
            raise ConfigError(f"cannot open the database {path}: {_cause(failure)}") from failure
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._readers = ThreadPoolExecutor(
            READERS, "sqlite-read", initializer=self._connect_reader, initargs=(threading.Barrier(READERS),)
        )
        for _ in range(READERS):  # each starts a thread, because the ones before wait at the barrier
            self._readers.submit(lambda: None)
        self._writer = threading.Thread(target=self._write_loop, name="sqlite-write", daemon=True)
        self._writer.start()

    @property
    def engine(self) -> Engine:
        return self._engine

    async def write(self, work: Callable[[Tx], T]) -> T:
        return await asyncio.wrap_future(self._submit(work))

    async def read(self, work: Callable[[Tx], T]) -> T:
        return await asyncio.wrap_future(self._readers.submit(self._read, work))

    def write_now(self, work: Callable[[Tx], T]) -> T:
        return self._submit(work).result()

    def read_now(self, work: Callable[[Tx], T]) -> T:
        return self._readers.submit(self._read, work).result()

    async def read_here(self, work: Callable[[Tx], T]) -> T:
        if getattr(self._local, "connection", None) is None:
            self._connect()
        return self._read(work)

    def pool(self) -> Pool:
        waiting = self._jobs.qsize() + self._readers._work_queue.qsize()
        return Pool(READERS + 1, READERS + 1, waiting)  # they are opened at the start, and never closed

    def close(self) -> None:
        """Commit what waits, then close. Later work never runs."""
        self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown()
        self._engine.dispose()

    def _submit(self, work: Callable[[Tx], T]) -> "Future[T]":
        future: Future[T] = Future()
        self._jobs.put(_Job(work, future))
        return future

    def _connect_reader(self, all_started: threading.Barrier) -> None:
        self._connect()
        all_started.wait()

    def _connect(self) -> None:
        self._local.connection = self._engine.connect()
        self._local.connection.exec_driver_sql("PRAGMA query_only=ON")
        self._local.connection.exec_driver_sql("PRAGMA cache_size=-512")  # kB; the system caches the file too

    def _read(self, work: Callable[[Tx], T]) -> T:
        tx: Tx = self._local.connection
        raw = _raw(tx)
        raw.execute("BEGIN")
        try:
            return work(tx)
        except StopIteration as failure:
            raise _deliverable(failure) from failure
        finally:
            raw.execute("ROLLBACK")

    def _write_loop(self) -> None:
        with self._connection as tx:
            closing = False
            while not closing:
                jobs, closing = self._take()
                if jobs:
                    _commit_together(tx, jobs)
            _bring_home(_raw(tx))

    def _take(self) -> tuple[list[_Job], bool]:
        """Wait for a job, then take along what else is there. The flag says that the end was asked for."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == BATCH_MAX:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True


def _commit_together(tx: Tx, jobs: list[_Job]) -> None:
    """One transaction, a savepoint a job; callers hear of success only after the commit."""
    raw = _raw(tx)  # the brackets of a transaction need no help of SQLAlchemy's, and are asked for often
    done: list[tuple[_Job, Any]] = []
    try:
        raw.execute("BEGIN IMMEDIATE")
        for job in jobs:
            if job.future.set_running_or_notify_cancel():
                _run_in_savepoint(tx, raw, job, done)
        raw.execute("COMMIT")
    except BaseException as failure:  # the disk is full, the file is gone: nobody was committed
        with suppress(sqlite3.Error):  # the next batch tries again
            if raw.in_transaction:
                raw.execute("ROLLBACK")
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(_deliverable(failure))
    else:
        for job, result in done:
            job.future.set_result(result)


def _run_in_savepoint(tx: Tx, raw: sqlite3.Connection, job: _Job, done: list[tuple[_Job, Any]]) -> None:
    raw.execute("SAVEPOINT job")
    try:
        result = job.work(tx)
    except BaseException as failure:
        if not raw.in_transaction:  # SQLite gave up the whole of it, as it may when the disk is full
            raise
        raw.execute("ROLLBACK TO job")
        raw.execute("RELEASE job")
        job.future.set_exception(_deliverable(failure))
    else:
        raw.execute("RELEASE job")
        done.append((job, result))


def _deliverable(failure: BaseException) -> BaseException:
    """An exception that can enter a future, in our terms where it is the disk's.

    A StopIteration cannot enter one: its caller would wait for ever.
    """
    if isinstance(failure, StopIteration):
        return RuntimeError(f"work raised {failure!r}")
    cause = _cause(failure)
    if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _NO_SPACE:
        full = StorageFull(f"The disk is full or fails ({cause}): nothing was stored. Try again later")
        full.__cause__ = failure
        return full
    return failure


def _cause(failure: BaseException) -> BaseException | None:
    """What SQLite said, without what SQLAlchemy says around it."""
    return failure.orig if isinstance(failure, DBAPIError) else failure


def _bring_home(raw: sqlite3.Connection) -> None:
    """Move the log into the database file, so that a stop in order leaves one file that is whole.

    SQLite does so itself when the last connection closes, but threads of graphs may hold one to the end.
    """
    with suppress(sqlite3.Error):  # no space: the log stays, and the next start reads it
        raw.execute(f"PRAGMA busy_timeout={CLOSING_MS}")
        raw.execute("SELECT 1 FROM sqlite_master").fetchall()  # or its first look would stand in its own way
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _raw(tx: Tx) -> sqlite3.Connection:
    return cast(sqlite3.Connection, tx.connection.driver_connection)


def _set_pragmas(engine: Engine, synchronous: str) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={synchronous}",  # FULL: an acknowledged write survives a power loss
            "foreign_keys=ON",
            "busy_timeout=5000",
            "temp_store=MEMORY",
            "journal_size_limit=67108864",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        # SQLite's own knows the letters of ASCII only; names are searched and sorted by this one.
        connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()
