"""Statements about assistants."""

from typing import Any

from sqlalchemy import bindparam, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from ..models import Assistant
from .database import Tx
from .tables import assistants

_COLUMNS = tuple(assistants.c)
_get = select(*_COLUMNS).where(assistants.c.assistant_id == bindparam("of_assistant"))


def _assistant(row: Any) -> Assistant:
    return Assistant(**row._mapping)


def add(tx: Tx, assistant: Assistant) -> None:
    """Store a new assistant."""
    tx.execute(insert(assistants).values(**_values(assistant)))


def add_missing(tx: Tx, found: list[Assistant]) -> None:
    """Store those that are not there yet; patched ones stay as they are."""
    if found:
        statement = upsert(assistants).on_conflict_do_nothing(index_elements=["assistant_id"])
        tx.execute(statement, [_values(assistant) for assistant in found])


def get(tx: Tx, assistant_id: str) -> Assistant | None:
    """One assistant by id."""
    row = tx.execute(_get, {"of_assistant": assistant_id}).first()
    return _assistant(row) if row else None


def _values(assistant: Assistant) -> dict[str, Any]:
    return {column.name: getattr(assistant, column.name) for column in _COLUMNS}
