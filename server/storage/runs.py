"""Statements about runs: the queue, the lease and the fence are these rows and nothing else."""

from typing import Any

from sqlalchemy import delete, func, insert, select, update

from ..models import Json, Run, RunStatus
from .database import Tx
from .tables import runs

_COLUMNS = tuple(column for column in runs.c if column.name != "seq")
_ACTIVE = (RunStatus.pending, RunStatus.running)


def _run(row: Any) -> Run:
    fields = dict(row._mapping)
    fields["status"] = RunStatus(fields["status"])
    return Run(**fields)


def add(tx: Tx, run: Run) -> None:
    """Store a new run at the end of the queue."""
    tx.execute(insert(runs).values({column.name: getattr(run, column.name) for column in _COLUMNS}))


def get(tx: Tx, thread_id: str | None, run_id: str) -> Run | None:
    """One run by id, and by thread unless `thread_id` is None."""
    query = select(*_COLUMNS).where(runs.c.run_id == run_id)
    if thread_id is not None:
        query = query.where(runs.c.thread_id == thread_id)
    row = tx.execute(query).first()
    return _run(row) if row else None


def active(tx: Tx, thread_id: str) -> list[Run]:
    """The runs of a thread that are waiting or running, in the order they came."""
    query = (
        select(*_COLUMNS)
        .where(runs.c.thread_id == thread_id, runs.c.status.in_(_ACTIVE))
        .order_by(runs.c.seq)
    )
    return [_run(row) for row in tx.execute(query)]


def has_active(tx: Tx, thread_id: str) -> bool:
    """Whether the thread is busy: delayed runs count (contract/runs.md 13)."""
    query = select(runs.c.run_id).where(runs.c.thread_id == thread_id, runs.c.status.in_(_ACTIVE)).limit(1)
    return tx.execute(query).first() is not None


def count_pending(tx: Tx) -> int:
    """How many runs wait, over all threads."""
    return tx.execute(select(func.count()).where(runs.c.status == RunStatus.pending)).scalar_one()


def claim(tx: Tx, at: str, limit: int) -> list[Run]:
    """Start up to `limit` runs that are due: first come, first served, never two of one thread.

    The attempt is counted here, before anything of the graph runs: a run that kills the process is known
    by its attempts (reliability D5). The partial unique index has the last word on "never two".
    """
    other = runs.alias("other")
    blocked = (
        select(other.c.seq)
        .where(
            other.c.thread_id == runs.c.thread_id,
            (other.c.status == RunStatus.running)
            | ((other.c.status == RunStatus.pending) & (other.c.due_at <= at) & (other.c.seq < runs.c.seq)),
        )
        .exists()
    )
    due = (
        select(runs.c.seq)
        .where(runs.c.status == RunStatus.pending, runs.c.due_at <= at, ~blocked)
        .order_by(runs.c.seq)
        .limit(limit)
    )
    found = [row.seq for row in tx.execute(due)]
    if not found:
        return []
    started = (
        update(runs)
        .where(runs.c.seq.in_(found), runs.c.status == RunStatus.pending)
        .values(status=RunStatus.running, attempt=runs.c.attempt + 1)
        .returning(*_COLUMNS)
    )
    return [_run(row) for row in tx.execute(started)]


def next_due(tx: Tx) -> str | None:
    """When the earliest waiting run may start; None when none waits."""
    return tx.execute(select(func.min(runs.c.due_at)).where(runs.c.status == RunStatus.pending)).scalar()


def finish(tx: Tx, run: Run, status: RunStatus, at: str, *, error: Json | None, reason: str | None) -> bool:
    """End this attempt of a running run. False when the attempt no longer owns it: the caller is stale."""
    statement = (
        update(runs)
        .where(runs.c.run_id == run.run_id, runs.c.attempt == run.attempt, runs.c.status == RunStatus.running)
        .values(status=status, updated_at=at, error=error, reason=reason)
    )
    return tx.execute(statement).rowcount > 0


def end_pending(tx: Tx, run_id: str, at: str, reason: str) -> bool:
    """Cancel a run that has not started. False when it has, or has ended."""
    statement = (
        update(runs)
        .where(runs.c.run_id == run_id, runs.c.status == RunStatus.pending)
        .values(status=RunStatus.interrupted, updated_at=at, reason=reason)
    )
    return tx.execute(statement).rowcount > 0


def ask_to_stop(tx: Tx, run_id: str, action: str, reason: str) -> bool:
    """Leave word for whoever executes the run. False when it is not running."""
    statement = (
        update(runs)
        .where(runs.c.run_id == run_id, runs.c.status == RunStatus.running)
        .values(stop=action, reason=reason)
    )
    return tx.execute(statement).rowcount > 0


def requeue_running(tx: Tx) -> int:
    """After a crash of the only worker: what was running waits again; its attempts stay counted."""
    statement = update(runs).where(runs.c.status == RunStatus.running).values(status=RunStatus.pending)
    return tx.execute(statement).rowcount


def remove(tx: Tx, run_id: str) -> bool:
    """Delete a run. False if there was none."""
    return tx.execute(delete(runs).where(runs.c.run_id == run_id)).rowcount > 0


def still_owned(tx: Tx, run_id: str, attempt: int) -> bool:
    """The fence: whether this attempt may still write (reliability D4)."""
    query = select(runs.c.seq).where(
        runs.c.run_id == run_id, runs.c.attempt == attempt, runs.c.status == RunStatus.running
    )
    return tx.execute(query).first() is not None


def spent(tx: Tx, attempts_max: int) -> list[Run]:
    """Running runs that have used up their attempts."""
    query = select(*_COLUMNS).where(runs.c.status == RunStatus.running, runs.c.attempt >= attempts_max)
    return [_run(row) for row in tx.execute(query)]
