"""Statements that take too long are given up: what callers search for may be anything."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from sqlalchemy.exc import DBAPIError

from ..errors import TooLarge
from .database import Tx

CANCELED = "57014"  # what PostgreSQL says of a statement that took too long
STEPS = 50_000  # of SQLite's machine between two looks at the clock: a few milliseconds


@contextmanager
def deadline(tx: Tx, seconds: float, problem: str) -> Iterator[None]:
    """While entered, statements of this transaction may take so long. Raises TooLarge: `problem`.

    All of them together on SQLite, each of them on PostgreSQL.
    """
    clock = _sqlite if tx.dialect.name == "sqlite" else _postgresql
    with clock(tx, seconds, problem):
        yield


@contextmanager
def _postgresql(tx: Tx, seconds: float, problem: str) -> Iterator[None]:
    tx.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
    try:
        yield
    except DBAPIError as failure:
        if getattr(failure.orig, "sqlstate", None) == CANCELED:
            raise TooLarge(problem) from failure
        raise
    tx.exec_driver_sql("SET LOCAL statement_timeout TO DEFAULT")


@contextmanager
def _sqlite(tx: Tx, seconds: float, problem: str) -> Iterator[None]:
    raw = cast(sqlite3.Connection, tx.connection.driver_connection)
    end = time.monotonic() + seconds
    raw.set_progress_handler(lambda: time.monotonic() > end, STEPS)
    try:
        yield
    except (DBAPIError, sqlite3.Error) as failure:
        cause = failure.orig if isinstance(failure, DBAPIError) else failure
        if getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise TooLarge(problem) from failure
        raise
    finally:
        raw.set_progress_handler(None, 0)
