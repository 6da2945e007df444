"""LangGraph's statements for SQLite, on a connection whose transaction is somebody else's to end."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.sqlite import SqliteSaver

from ..errors import Superseded
from .database import SqliteDatabase

# The fence (reliability D4): whether this attempt may still write. There is one writer: what it reads is so.
_OWNS = "SELECT 1 FROM runs WHERE run_id = ? AND attempt = ? AND status = 'running'"


class SqliteStatements(SqliteSaver):
    """For one transaction: made with each, so without what its base sets up."""

    def __init__(self, connection: sqlite3.Connection, serde: SerializerProtocol) -> None:
        self.conn = connection
        self.serde = cast(Any, serde)

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        cursor = self.conn.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def owned(self, run_id: str, attempt: int) -> Iterator[None]:
        """What is done within is done only if this attempt owns its run. Raises Superseded."""
        if self.conn.execute(_OWNS, (run_id, attempt)).fetchone() is None:
            raise Superseded
        yield


def prepare(database: SqliteDatabase) -> None:
    """Create LangGraph's tables where missing."""
    with database.engine.connect() as connection:
        SqliteSaver(cast(Any, connection.connection.driver_connection)).setup()
