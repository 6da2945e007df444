"""Statements about how long threads live. What a new thread gets by itself, a trigger gives it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select, update

from ..models import ThreadStatus
from ..rules.threads import PruneStrategy, Ttl
from .database import Tx
from .locks import lock
from .tables import thread_ttl_default, thread_ttls, threads

_this = thread_ttls.c.thread_id == bindparam("of_thread")
_get = select(thread_ttls.c.strategy, thread_ttls.c.ttl_minutes, thread_ttls.c.expires_at).where(_this)
_remove = delete(thread_ttls).where(_this)
_due = (
    select(
        thread_ttls.c.thread_id,
        thread_ttls.c.strategy,
        thread_ttls.c.ttl_minutes,
        threads.c.updated_at,
        threads.c.status,
    )
    .join_from(thread_ttls, threads, threads.c.thread_id == thread_ttls.c.thread_id)
    .where(thread_ttls.c.expires_at <= bindparam("at"))
    .order_by(thread_ttls.c.expires_at)
    .limit(bindparam("most"))
    .with_for_update(of=thread_ttls, skip_locked=True)
)
_postpone = update(thread_ttls).where(_this).values(expires_at=bindparam("to_time"))
_changed_at = select(threads.c.updated_at, threads.c.status).where(
    threads.c.thread_id == bindparam("of_thread")
)


@dataclass(frozen=True, slots=True)
class Mortal:
    """A thread whose time may have come."""

    thread_id: str
    strategy: PruneStrategy
    minutes: float
    updated_at: str
    busy: bool


def put(tx: Tx, thread_id: str, ttl: Ttl) -> None:
    """How long a thread lives from now on, whatever was said before."""
    tx.execute(_remove, {"of_thread": thread_id})
    row = {
        "thread_id": thread_id,
        "strategy": ttl.strategy,
        "ttl_minutes": ttl.minutes,
        "expires_at": ttl.expires_at,
    }
    tx.execute(insert(thread_ttls), row)


def get(tx: Tx, thread_id: str) -> Ttl | None:
    """How long a thread lives; None: for ever. `expires_at` may be too early (see the table)."""
    row = tx.execute(_get, {"of_thread": thread_id}).first()
    return Ttl(PruneStrategy(row[0]), row[1], row[2]) if row else None


def due(tx: Tx, at: str, most: int) -> list[Mortal]:
    """Threads to look at, the longest waiting first. Nobody else changes how long they live meanwhile."""
    rows = tx.execute(_due, {"at": at, "most": most})
    return [
        Mortal(id_, PruneStrategy(strategy), minutes, updated_at, status == ThreadStatus.busy)
        for id_, strategy, minutes, updated_at, status in rows
    ]


def postpone(tx: Tx, times: Mapping[str, str]) -> None:
    """When to look at these threads again."""
    if times:
        tx.execute(_postpone, [{"of_thread": id_, "to_time": time} for id_, time in times.items()])


def unchanged(tx: Tx, thread: Mortal) -> bool:
    """Whether a thread is as it was found, and nothing runs on it."""
    row = tx.execute(_changed_at, {"of_thread": thread.thread_id}).first()
    return row is not None and row[0] == thread.updated_at and row[1] != ThreadStatus.busy


def set_default(tx: Tx, ttl: Ttl | None) -> None:
    """What threads get that are made from now on and say nothing themselves."""
    lock(tx, "thread_ttl_default")
    tx.execute(delete(thread_ttl_default))
    if ttl is not None:
        tx.execute(insert(thread_ttl_default).values(strategy=ttl.strategy, ttl_minutes=ttl.minutes))
