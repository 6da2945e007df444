"""Locks between units of work, for as long as the transaction lasts.

On SQLite one writer does one work after the other, so there is nothing to lock. On PostgreSQL many write at
once and each statement sees what others have committed meanwhile: whatever reads and then writes by what it
has read keeps others out first. The order is always the same, so that nobody waits in a circle: threads
(several in the order of their ids), then names, then rows.
"""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Text, bindparam, func, literal, select

from .database import Tx


def _key(what: ColumnElement[str]) -> ColumnElement[int]:
    """Many may work in one database: those of another schema have nothing to do with it."""
    return func.hashtextextended(func.current_schema().concat(literal(":")).concat(what), 0)


_lock = select(func.pg_advisory_xact_lock(_key(bindparam("what", type_=Text()))))


def lock_thread(tx: Tx, thread_id: str) -> None:
    """From now on nobody else changes what belongs to the thread: its row, runs, past, time to live.

    There need not be such a thread: two who would make it come one after the other.
    """
    lock(tx, f"thread:{thread_id}")


def lock_threads(tx: Tx, thread_ids: Iterable[str]) -> None:
    """`lock_thread` for several."""
    for thread_id in sorted(set(thread_ids)):
        lock_thread(tx, thread_id)


def lock(tx: Tx, what: str) -> None:
    """The same for anything that has a name."""
    if tx.dialect.name == "postgresql":
        tx.execute(_lock, {"what": what})


def thread_is_free(thread_id: ColumnElement[str]) -> ColumnElement[bool]:
    """On PostgreSQL, whether a thread can be locked without waiting; it is then."""
    return func.pg_try_advisory_xact_lock(_key(literal("thread:").concat(thread_id)))
