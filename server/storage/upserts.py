"""INSERT … ON CONFLICT, which each engine has in a dialect of its own."""

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from .database import Tx

INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def upsert(tx: Tx, table: Table) -> Any:
    """An insert that can be told what to do where the row is there."""
    return INSERTS[tx.dialect.name](table)
