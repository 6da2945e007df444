"""Statements about threads, each built once (see runs.py)."""

from typing import Any

from sqlalchemy import Select, bindparam, delete, func, insert, select, update

from ..models import Json, Outcome, Thread, ThreadStatus
from ..rules.access import EVERYTHING, Scope
from .database import Tx
from .scopes import within
from .tables import threads

_COLUMNS = tuple(threads.c)
_NAMES = tuple(column.name for column in _COLUMNS)
_this = threads.c.thread_id == bindparam("of_thread")
_status_at: dict[str, Any] = {"status": bindparam("to_status"), "updated_at": bindparam("at")}

_add = insert(threads)
_get = select(*_COLUMNS).where(_this)
_exists = select(threads.c.thread_id).where(_this)
_metadata_of = select(threads.c.metadata).where(_this)
_changed_at = select(threads.c.updated_at).where(_this)
_values_of = select(threads.c["values"]).where(_this)
_waiting_of = select(threads.c.status, threads.c.interrupts).where(_this)
_begin_run = (
    update(threads)
    .where(_this)
    .values(metadata=bindparam("with_metadata", type_=threads.c.metadata.type), **_status_at)
)
_describe = (
    update(threads)
    .where(_this)
    .values(metadata=bindparam("with_metadata", type_=threads.c.metadata.type), updated_at=bindparam("at"))
)
_set_outcome = (
    update(threads)
    .where(_this)
    .values(
        {
            "error": bindparam("with_error", type_=threads.c.error.type),
            "interrupts": bindparam("with_interrupts", type_=threads.c.interrupts.type),
            # A run that left no state leaves the values as they were.
            "values": func.coalesce(
                bindparam("with_values", type_=threads.c["values"].type), threads.c["values"]
            ),
            "state_updated_at": bindparam("at"),
            **_status_at,
        }
    )
)
_set_status = update(threads).where(_this).values(**_status_at)
_remove = delete(threads).where(_this)


def _thread(row: Any) -> Thread:
    fields = dict(row._mapping)
    fields["status"] = ThreadStatus(fields["status"])
    return Thread(**fields)


def _within(tx: Tx, statement: Select[Any], scope: Scope) -> Select[Any]:
    return statement.where(*within(tx, threads, scope)) if scope else statement


def add(tx: Tx, thread: Thread) -> None:
    """Store a new thread; the id must be free."""
    tx.execute(_add, {name: getattr(thread, name) for name in _NAMES})


def get(tx: Tx, thread_id: str, scope: Scope = EVERYTHING) -> Thread | None:
    """One thread by id."""
    row = tx.execute(_within(tx, _get, scope), {"of_thread": thread_id}).first()
    return _thread(row) if row else None


def exists(tx: Tx, thread_id: str, scope: Scope = EVERYTHING) -> bool:
    """Whether there is such a thread, without reading its values."""
    return tx.execute(_within(tx, _exists, scope), {"of_thread": thread_id}).first() is not None


def metadata_of(tx: Tx, thread_id: str, scope: Scope = EVERYTHING) -> Json | None:
    """The metadata alone: creating a run must not read a thread's values, which may be megabytes."""
    row = tx.execute(_within(tx, _metadata_of, scope), {"of_thread": thread_id}).first()
    return row[0] if row else None


def values_of(tx: Tx, thread_id: str) -> bytes | None:
    """The values alone."""
    row = tx.execute(_values_of, {"of_thread": thread_id}).first()
    return row[0] if row else None


def waiting_of(tx: Tx, thread_id: str, scope: Scope = EVERYTHING) -> tuple[ThreadStatus, bytes] | None:
    """Its status, and what waits for answers, without reading its values."""
    row = tx.execute(_within(tx, _waiting_of, scope), {"of_thread": thread_id}).first()
    return (ThreadStatus(row[0]), row[1]) if row else None


def changed_at(tx: Tx, thread_id: str, scope: Scope = EVERYTHING) -> str | None:
    """When the thread last changed in any way, which tells one version of it from the next."""
    return tx.execute(_within(tx, _changed_at, scope), {"of_thread": thread_id}).scalar()


def begin_run(tx: Tx, thread_id: str, metadata: Json, at: str) -> None:
    """A run was admitted: the thread is busy from now on and tells which graph it runs."""
    change = {"with_metadata": metadata, "to_status": ThreadStatus.busy, "at": at}
    tx.execute(_begin_run, {"of_thread": thread_id, **change})


def describe(tx: Tx, thread_id: str, metadata: Json, at: str) -> None:
    """Other metadata, which is a change of the thread even if they are the same."""
    tx.execute(_describe, {"of_thread": thread_id, "with_metadata": metadata, "at": at})


def set_outcome(tx: Tx, thread_id: str, outcome: Outcome, status: ThreadStatus, at: str) -> None:
    """A run ended: its state becomes the thread's. `status` is busy while others wait."""
    change = {
        "with_error": outcome.error,
        "with_interrupts": outcome.interrupts,
        "with_values": outcome.values,
        "to_status": status,
        "at": at,
    }
    tx.execute(_set_outcome, {"of_thread": thread_id, **change})


def set_status(tx: Tx, thread_id: str, status: ThreadStatus, at: str) -> None:
    """Only the status changed: a run that never started went away."""
    tx.execute(_set_status, {"of_thread": thread_id, "to_status": status, "at": at})


def remove(tx: Tx, thread_id: str) -> bool:
    """Delete the thread with its runs. False if there was none."""
    return tx.execute(_remove, {"of_thread": thread_id}).rowcount > 0
