"""PostgreSQL 15 or newer: as many units of work at the same time as there are connections.

A connection is taken for one transaction and given back, and nothing is left in its session: no prepared
statement, no session lock, no setting. So a pooler in transaction mode may stand in between. While the
database is away work waits for it; whether a transaction whose end was not heard took place is asked
afterwards, so that each happens once.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar, cast

import orjson
import psycopg
import structlog
from psycopg import errors as pg
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..errors import ConfigError, GraphwireError, Invalid, StorageFull, StorageUnavailable
from .database import Tx

T = TypeVar("T")
_log = structlog.get_logger(__name__)

CONNECT_SECONDS = 5
AWAY_SECONDS = 20.0  # how long work waits for a database that is away, and for a free connection
AGAIN_SECONDS, AGAIN_SECONDS_MAX = 0.05, 1.0
TRIES = 10  # of work that met another's: two made the same row, or each waited for the other
_MET = (pg.UniqueViolation, pg.SerializationFailure, pg.DeadlockDetected)
_FULL = (pg.DiskFull, pg.OutOfMemory, pg.ConfigurationLimitExceeded)


class PostgresDatabase:
    """One schema of one database. Raises ConfigError for an address that makes no sense.

    `connections` bounds how many this process opens; work beyond waits its turn. `patience`: for how many
    seconds it waits for that, and for a database that is away.
    """

    def __init__(self, uri: str, *, schema: str, connections: int, patience: float = AWAY_SECONDS) -> None:
        if not schema.isidentifier() or not schema.isascii() or schema != schema.lower():
            raise ConfigError(f"{schema!r} cannot be a schema: lower-case letters, digits and _ only")
        try:
            url = make_url(uri).set(drivername="postgresql+psycopg")
        except Exception as failure:
            raise ConfigError("DATABASE_URI: is not the address of a PostgreSQL database") from failure
        self.schema = schema
        self._patience = patience
        self.engine = create_engine(
            url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=patience,
            pool_use_lifo=True,
            isolation_level="AUTOCOMMIT",  # transactions are ours to begin and end
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={
                "prepare_threshold": None,
                "connect_timeout": CONNECT_SECONDS,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 15_000,
            },
        )
        self._reading = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {schema}"
        # The number of the transaction is asked for at once: should its end be lost, it tells how it went.
        self._writing = f"BEGIN; SET LOCAL search_path TO {schema}; SELECT pg_current_xact_id()::text"
        self._threads = ThreadPoolExecutor(connections, "postgres")

    async def write(self, work: Callable[[Tx], T]) -> T:
        return await self._elsewhere(self.write_now, work)

    async def read(self, work: Callable[[Tx], T]) -> T:
        return await self._elsewhere(self.read_now, work)

    async def read_here(self, work: Callable[[Tx], T]) -> T:
        return await self.read(work)

    def read_now(self, work: Callable[[Tx], T]) -> T:
        return self._patiently(lambda: self._once(self._reading, work))

    def write_now(self, work: Callable[[Tx], T]) -> T:
        return self._patiently(lambda: self._once(self._writing, work))

    def close(self) -> None:
        """Wait for what is under way, then close. Later work never runs."""
        self._threads.shutdown()
        self.engine.dispose()

    async def _elsewhere(self, call: Callable[[Callable[[Tx], T]], T], work: Callable[[Tx], T]) -> T:
        return await asyncio.wrap_future(self._threads.submit(call, work))

    def _patiently(self, once: Callable[[], T]) -> T:
        """Run a transaction until it has met nobody and its database was there."""
        deadline, wait, met = time.monotonic() + self._patience, AGAIN_SECONDS, 0
        while True:
            try:
                return once()
            except PoolTimeout as failure:
                raise StorageUnavailable("The database has no free connection; try again later") from failure
            except (DBAPIError, psycopg.Error) as failure:
                cause = failure.orig if isinstance(failure, DBAPIError) else failure
                met += isinstance(cause, _MET)
                if not (isinstance(cause, _MET) and met < TRIES) and not (
                    _is_away(cause) and time.monotonic() < deadline
                ):
                    raise _in_our_terms(cause) or failure from failure
            time.sleep(wait)
            wait = min(2 * wait, AGAIN_SECONDS_MAX)

    def _once(self, begin: str, work: Callable[[Tx], T]) -> T:
        with self.engine.connect() as tx:
            raw = cast("psycopg.Connection[Any]", tx.connection.driver_connection)
            try:
                xid = _begin(raw, begin)
                result = work(tx)
            except BaseException:
                _give_up(tx)
                raise
            try:
                ended = raw.execute("COMMIT").statusmessage
            except psycopg.Error as failure:
                _give_up(tx)
                if not _is_away(failure) or (xid is not None and not self._took_place(xid)):
                    raise
            else:
                if ended != "COMMIT":  # the work met an error of the database and went on all the same
                    raise RuntimeError("a unit of work went on after its transaction had failed")
            return result

    def _took_place(self, xid: str) -> bool:
        """Whether a transaction whose end was not heard was committed. Raises StorageUnavailable."""
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            with suppress(DBAPIError, PoolTimeout, psycopg.Error), self.engine.connect() as tx:
                raw = cast("psycopg.Connection[Any]", tx.connection.driver_connection)
                row = raw.execute("SELECT pg_xact_status(%s::xid8)", (xid,)).fetchone()
                if row is not None and row[0] in ("committed", "aborted"):
                    return bool(row[0] == "committed")
            time.sleep(AGAIN_SECONDS)
        raise StorageUnavailable


def _give_up(tx: Tx) -> None:
    """Undo. Where the connection is broken SQLAlchemy sees it by this, and trusts none that is as old."""
    if not tx.invalidated:
        with suppress(DBAPIError):
            tx.exec_driver_sql("ROLLBACK")


def _is_away(cause: BaseException | None) -> bool:
    """Whether the database was not there: no answer, or one of those with which it goes and comes."""
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


def _begin(raw: "psycopg.Connection[Any]", statements: str) -> str | None:
    """Begin; the number of a transaction that writes. One way there and back."""
    cursor = raw.execute(cast(Any, statements))
    while cursor.nextset():
        pass
    row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None
