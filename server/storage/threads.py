"""Statements about threads."""

from typing import Any

from sqlalchemy import delete, insert, select, update

from ..models import Json, Outcome, Thread, ThreadStatus
from .database import Tx
from .tables import threads

_COLUMNS = tuple(threads.c)


def _thread(row: Any) -> Thread:
    fields = dict(row._mapping)
    fields["status"] = ThreadStatus(fields["status"])
    return Thread(**fields)


def add(tx: Tx, thread: Thread) -> None:
    """Store a new thread; the id must be free."""
    values = {column.name: getattr(thread, column.name) for column in _COLUMNS}
    tx.execute(insert(threads).values(**values))


def get(tx: Tx, thread_id: str) -> Thread | None:
    """One thread by id."""
    row = tx.execute(select(*_COLUMNS).where(threads.c.thread_id == thread_id)).first()
    return _thread(row) if row else None


def exists(tx: Tx, thread_id: str) -> bool:
    """Whether there is such a thread, without reading its values."""
    return tx.execute(select(threads.c.thread_id).where(threads.c.thread_id == thread_id)).first() is not None


def metadata_of(tx: Tx, thread_id: str) -> Json | None:
    """The metadata alone: creating a run must not read a thread's values, which may be megabytes."""
    row = tx.execute(select(threads.c.metadata).where(threads.c.thread_id == thread_id)).first()
    return row[0] if row else None


def begin_run(tx: Tx, thread_id: str, metadata: Json, at: str) -> None:
    """A run was admitted: the thread is busy from now on and tells which graph it runs."""
    tx.execute(
        update(threads)
        .where(threads.c.thread_id == thread_id)
        .values(status=ThreadStatus.busy, metadata=metadata, updated_at=at)
    )


def set_outcome(tx: Tx, thread_id: str, outcome: Outcome, status: ThreadStatus, at: str) -> None:
    """A run ended: its state becomes the thread's. `status` is busy while others wait."""
    changes: dict[str, Any] = {
        "status": status,
        "error": outcome.error,
        "interrupts": outcome.interrupts,
        "updated_at": at,
        "state_updated_at": at,
    }
    if outcome.values is not None:
        changes["values"] = outcome.values
    tx.execute(update(threads).where(threads.c.thread_id == thread_id).values(changes))


def set_status(tx: Tx, thread_id: str, status: ThreadStatus, at: str) -> None:
    """Only the status changed: a run that never started went away."""
    tx.execute(update(threads).where(threads.c.thread_id == thread_id).values(status=status, updated_at=at))


def remove(tx: Tx, thread_id: str) -> bool:
    """Delete the thread with its runs. False if there was none."""
    return tx.execute(delete(threads).where(threads.c.thread_id == thread_id)).rowcount > 0
