"""PostgreSQL 15 or newer: as many units of work at the same time as there are connections.

A connection is taken for one transaction and given back, and nothing is left in its session: no prepared
statement, no session lock, no setting. So a pooler in transaction mode may stand in between. While the
database is away work waits for it; whether a transaction whose end was not heard took place is asked
afterwards, so that each happens once.
"""

import asyncio
import copy
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar, cast
from uuid import uuid4

import orjson
import psycopg
import structlog
from psycopg import errors as pg
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from ..errors import ConfigError, GraphwireError, Invalid, StorageFull, StorageUnavailable
from ..telemetry.levels import Pool
from .database import Tx
from .turns import Reach, Turn

T = TypeVar("T")
_log = structlog.get_logger(__name__)

CONNECT_SECONDS = 5
AWAY_SECONDS = 20.0  # how long work waits for a database that is away, and for a free connection
BEGIN_SECONDS = 5.0  # how long who is impatient waits for the beginning of a transaction
AGAIN_SECONDS, AGAIN_SECONDS_MAX = 0.05, 1.0
TRIES = 10  # of work that met another's: two made the same row, or each waited for the other
_MET = (pg.UniqueViolation, pg.SerializationFailure, pg.DeadlockDetected)
_FULL = (pg.DiskFull, pg.OutOfMemory, pg.ConfigurationLimitExceeded)


IDLE_SECONDS = 15.0  # how long a transaction may do nothing
LOCK_MS = 2_000
# A row for each connection there ever was, with the mark of its last transaction.
MARK = (
    "INSERT INTO marks AS m (slot, mark, at) VALUES ('{slot}', '{mark}', now()) "
    "ON CONFLICT (slot) DO UPDATE SET mark = excluded.mark, at = excluded.at"
)
ASK = (
    "INSERT INTO marks AS m (slot, mark, at) VALUES (%s, '', now()) "
    "ON CONFLICT (slot) DO UPDATE SET at = m.at RETURNING mark"
)
FORGET_MARKS = text("DELETE FROM marks WHERE at < now() - interval '1 day'")


class Lost(Exception):
    """The end of a transaction was not heard."""

    def __init__(self, failure: psycopg.Error, result: object) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.result = result


class PostgresDatabase:
    """One schema of one database. Raises ConfigError for an address that makes no sense.

    `connections` bounds how many this process opens; work beyond waits its turn. `patience`: for how many
    seconds it waits for that, and for a database that is away. `idle_seconds`: for how long a transaction may
    do nothing, before PostgreSQL ends it and its locks.
    """

    def __init__(
        self,
        uri: str,
        *,
        schema: str,
        connections: int,
        patience: float = AWAY_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        if not schema.isidentifier() or not schema.isascii() or schema != schema.lower():
            raise ConfigError(f"{schema!r} cannot be a schema: lower-case letters, digits and _ only")
        try:
            url = make_url(uri).set(drivername="postgresql+psycopg")
        except Exception:  # not as the cause: its text has parts of the address
            raise ConfigError("DATABASE_URI: is not the address of a PostgreSQL database") from None
        self.schema = schema
        self._patience = patience
        self.engine = create_engine(
            url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=patience,
            pool_use_lifo=True,
            isolation_level="AUTOCOMMIT",  # transactions are ours to begin and end
            hide_parameters=True,  # users' data, in the texts of errors and so in the log
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={
                "prepare_threshold": None,
                "application_name": f"graphwire {schema}",  # see storage/workers.py
                "connect_timeout": CONNECT_SECONDS,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 15_000,
            },
        )
        self._reading = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {schema}"
        self._unmarked = f"BEGIN; SET LOCAL search_path TO {schema}"
        # One whose client is gone must not keep its locks for ever.
        self._idle_seconds = idle_seconds
        idle = f"SET LOCAL idle_in_transaction_session_timeout = {int(idle_seconds * 1000)}"
        self._writing = f"{self._unmarked}; {idle}; {MARK}"
        self._threads = ThreadPoolExecutor(connections, "postgres")
        self._all_threads = [self._threads]
        self._connections = connections
        self._begin_seconds: float | None = None
        self._reach = Reach()

    def impatient(self, seconds: float) -> "PostgresDatabase":
        """The same connections, for who cannot wait: when the database has been away for so long, or a
        transaction cannot begin within some seconds more, StorageUnavailable tells that nothing happened.

        Who is patient does not stand in its way.
        """
        other = copy.copy(self)
        other._patience, other._begin_seconds = seconds, BEGIN_SECONDS
        other._threads = ThreadPoolExecutor(self._connections, "postgres-door")
        self._all_threads.append(other._threads)
        return other

    async def write(self, work: Callable[[Tx], T]) -> T:
        return await self._elsewhere(self.write_now, work)

    async def read(self, work: Callable[[Tx], T]) -> T:
        return await self._elsewhere(self.read_now, work)

    async def read_here(self, work: Callable[[Tx], T]) -> T:
        return await self.read(work)

    def read_now(self, work: Callable[[Tx], T]) -> T:
        return self._patiently(lambda: self._once(self._reading, work))

    def write_now(self, work: Callable[[Tx], T]) -> T:
        return self._patiently(lambda: self._marked(work))

    def migrate_now(self, work: Callable[[Tx], T]) -> T:
        """`write_now` before there are any tables."""
        return self._patiently(lambda: self._once(self._unmarked, work))

    def close(self) -> None:
        """Wait for what is under way, then close. Later work never runs."""
        for threads in self._all_threads:
            threads.shutdown()
        self.engine.dispose()

    def pool(self) -> Pool:
        waiting = sum(threads._work_queue.qsize() for threads in self._all_threads)
        return Pool(cast(QueuePool, self.engine.pool).checkedout(), self._connections, waiting)

    async def forget_marks(self) -> None:
        """Throw away the marks of connections that are long gone."""
        await self.write(lambda tx: tx.execute(FORGET_MARKS).rowcount)

    async def _elsewhere(self, call: Callable[[Callable[[Tx], T]], T], work: Callable[[Tx], T]) -> T:
        if self._begin_seconds is None:
            return await asyncio.wrap_future(self._threads.submit(call, work))
        turn = Turn(work)
        future = asyncio.wrap_future(self._threads.submit(call, turn))
        try:
            await asyncio.wait([future], timeout=self._begin_seconds)
        except asyncio.CancelledError:
            future.cancel()
            raise
        if not future.done() and turn.give_up():
            future.cancel()
            raise StorageUnavailable
        return await future

    def _patiently(self, once: Callable[[], T]) -> T:
        """Run a transaction until it has met nobody and its database was there."""
        began, wait, met = time.monotonic(), AGAIN_SECONDS, 0
        while True:
            try:
                result = once()
                self._reach.there()
                return result
            except PoolTimeout as failure:
                raise StorageUnavailable("The database has no free connection; try again later") from failure
            except (DBAPIError, psycopg.Error) as failure:
                cause = failure.orig if isinstance(failure, DBAPIError) else failure
                met += isinstance(cause, _MET)
                if not (isinstance(cause, _MET) and met < TRIES) and not (
                    _is_away(cause) and self._waits(began)
                ):
                    raise _in_our_terms(cause) or failure from failure
            time.sleep(wait)
            wait = min(2 * wait, AGAIN_SECONDS_MAX)

    def _waits(self, began: float) -> bool:
        """Whether work goes on waiting for a database that is away."""
        away = self._reach.away()
        waited = time.monotonic() - began if self._begin_seconds is None else away
        return waited < self._patience

    def _marked(self, work: Callable[[Tx], T]) -> T:
        """Run a transaction that leaves a mark: by it one is recognised whose end was not heard.

        The numbers of transactions would not do: after a crash PostgreSQL gives out again those of which
        nothing was written.
        """
        mark = uuid4().hex
        try:
            with self.engine.connect() as tx:
                slot = tx.connection.info.setdefault("slot", uuid4().hex)  # one transaction at a time has it
                return self._run(tx, self._writing.format(slot=slot, mark=mark), work)
        except Lost as lost:
            if not self._took_place(slot, mark):
                raise lost.failure from lost
            return cast(T, lost.result)

    def _once(self, begin: str, work: Callable[[Tx], T]) -> T:
        try:
            with self.engine.connect() as tx:
                return self._run(tx, begin, work)
        except Lost as lost:
            raise lost.failure from lost

    def _run(self, tx: Tx, begin: str, work: Callable[[Tx], T]) -> T:
        """One transaction. Raises Lost when only its end was not heard."""
        raw = cast("psycopg.Connection[Any]", tx.connection.driver_connection)
        try:
            raw.execute(begin.encode())  # all in one way there and back
            result = work(tx)
        except StopIteration as failure:  # it cannot enter a future: its caller would wait for ever
            _give_up(tx)
            raise RuntimeError(f"work raised {failure!r}") from failure
        except BaseException:
            _give_up(tx)
            raise
        try:
            ended = raw.execute("COMMIT").statusmessage
        except psycopg.Error as failure:
            _give_up(tx)
            if _is_away(failure):
                raise Lost(failure, result) from failure
            raise
        if ended != "COMMIT":  # the work met an error of the database and went on all the same
            raise RuntimeError("a unit of work went on after its transaction had failed")
        return result

    def _took_place(self, slot: str, mark: str) -> bool:
        """Whether a transaction whose end was not heard was committed. Raises StorageUnavailable.

        Who asks takes the row of the mark, and so waits for a transaction that may still be under way.
        """
        deadline = time.monotonic() + (self._begin_seconds or max(self._patience, 2 * self._idle_seconds))
        while time.monotonic() < deadline:
            with suppress(DBAPIError, PoolTimeout, psycopg.Error), self.engine.connect() as tx:
                raw = cast("psycopg.Connection[Any]", tx.connection.driver_connection)
                raw.execute(f"{self._unmarked}; SET LOCAL lock_timeout = {LOCK_MS}".encode())
                try:
                    row = raw.execute(ASK.encode(), (slot,)).fetchone()
                    raw.execute("COMMIT")
                except psycopg.Error:
                    _give_up(tx)
                    raise
                return row is not None and row[0] == mark
            time.sleep(AGAIN_SECONDS)
        raise StorageUnavailable("The database cannot be reached: it is not known whether this took place")


def _give_up(tx: Tx) -> None:
    """Undo. Where the connection is broken SQLAlchemy sees it by this, and trusts none that is as old."""
    if tx.invalidated:
        return
    try:
        tx.exec_driver_sql("ROLLBACK")
    except DBAPIError as failure:  # in the middle of a pipeline, psycopg does not see that it was cut
        if not tx.invalidated:
            tx.invalidate(failure)


def _is_away(cause: BaseException | None) -> bool:
    """Whether the database was not there: no answer, or one of those with which it goes and comes.

    To it we may have been away: then it has ended the transaction, and nothing of it took place.
    """
    if isinstance(cause, pg.IdleInTransactionSessionTimeout):
        return True
    if not isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    state = cause.sqlstate
    return state is None or state.startswith(("08", "57P")) or state == "53300"


def _in_our_terms(cause: BaseException | None) -> GraphwireError | None:
    if _is_away(cause):
        return StorageUnavailable()
    if isinstance(cause, _FULL):
        return StorageFull(f"The database takes no more ({cause}): nothing was stored. Try again later")
    if isinstance(cause, pg.UntranslatableCharacter) or "NUL" in str(cause):
        return Invalid("A text must not contain the character NUL (\\u0000)")
    return None
