"""Statements about runs: the queue, the lease and the fence are these rows and nothing else.

Each is built once: composing one costs SQLAlchemy more than SQLite takes to run it.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, select, update

from ..models import Json, Run, RunPage, RunSelection, RunStatus
from ..rules.access import EVERYTHING, Scope
from .database import Tx
from .locks import lock_thread, thread_is_free
from .scopes import thread_within
from .tables import runs, workers

_COLUMNS = tuple(column for column in runs.c if column.name != "seq")
_NAMES = tuple(column.name for column in _COLUMNS)
ORPHANS_MAX = 1_000
CLAIM_MAX = 1_000  # runs that are looked at for free threads
_ACTIVE = (RunStatus.pending, RunStatus.running)

_of_run = runs.c.run_id == bindparam("of_run")
_of_thread = runs.c.thread_id == bindparam("of_thread")
_mine = _of_run & (runs.c.attempt == bindparam("of_attempt")) & (runs.c.status == RunStatus.running)

_add = insert(runs)
_get = select(*_COLUMNS).where(_of_run)
_get_of_thread = _get.where(_of_thread)
_active = select(*_COLUMNS).where(_of_thread, runs.c.status.in_(_ACTIVE)).order_by(runs.c.seq)
_has_active = select(runs.c.seq).where(_of_thread, runs.c.status.in_(_ACTIVE)).limit(1)
_count = select(func.count()).where(_of_thread)
_count_pending = select(func.count()).where(runs.c.status == RunStatus.pending)
_count_pending_of = _count_pending.where(runs.c.identity == bindparam("of_identity"))
_count_active_of = select(func.count()).where(
    runs.c.status.in_(_ACTIVE), runs.c.stop.is_(None), runs.c.identity == bindparam("of_identity")
)
_count_by_graph = (
    select(runs.c.graph_id, func.count().label("number"))
    .where(runs.c.status == bindparam("of_status"))
    .group_by(runs.c.graph_id)
)
_newest = select(*_COLUMNS).where(_of_thread).order_by(runs.c.seq.desc()).limit(1)
_ended_before = (
    select(runs.c.seq)
    .where(_of_thread, runs.c.status.not_in(_ACTIVE))
    .order_by(runs.c.seq.desc())
    .limit(bindparam("most"))
    .offset(bindparam("newest"))
)
_remove_ended = delete(runs).where(runs.c.seq.in_(_ended_before))
# Where one process does everything there are no workers in the table: after a start of it all are orphans.
_orphaned = (runs.c.status == RunStatus.running) & ~(
    select(workers.c.worker_id).where(workers.c.worker_id == runs.c.worker_id).exists()
)
_is_due = (
    select(runs.c.seq).where(runs.c.status == RunStatus.pending, runs.c.due_at <= bindparam("at")).limit(1)
)
_next_due = select(func.min(runs.c.due_at)).where(runs.c.status == RunStatus.pending)
_finish = (
    update(runs)
    .where(_mine)
    .values(
        status=bindparam("to_status"),
        updated_at=bindparam("at"),
        error=bindparam("with_error", type_=runs.c.error.type),
        reason=bindparam("with_reason"),
    )
)


def _run(row: Any) -> Run:
    fields = {name: getattr(row, name) for name in _NAMES}
    fields["status"] = RunStatus(fields["status"])
    return Run(**fields)


def add(tx: Tx, run: Run) -> None:
    """Store a new run at the end of the queue."""
    tx.execute(_add, {name: getattr(run, name) for name in _NAMES})


def get(tx: Tx, thread_id: str | None, run_id: str, scope: Scope = EVERYTHING) -> Run | None:
    """One run by id, and by thread unless `thread_id` is None; its thread is within the scope."""
    named = {"of_run": run_id} if thread_id is None else {"of_run": run_id, "of_thread": thread_id}
    statement = _get if thread_id is None else _get_of_thread
    if scope:
        statement = statement.where(*thread_within(tx, runs.c.thread_id, scope))
    row = tx.execute(statement, named).first()
    return _run(row) if row else None


def active(tx: Tx, thread_id: str) -> list[Run]:
    """The runs of a thread that are waiting or running, in the order they came."""
    return [_run(row) for row in tx.execute(_active, {"of_thread": thread_id})]


def page(tx: Tx, thread_id: str, wanted: RunPage) -> list[Run]:
    """Some runs of a thread, newest first."""
    query = select(*_COLUMNS).where(runs.c.thread_id == thread_id)
    if wanted.status is not None:
        query = query.where(runs.c.status == wanted.status)
    query = query.order_by(runs.c.seq.desc()).limit(wanted.limit).offset(wanted.offset)
    return [_run(row) for row in tx.execute(query)]


def select_active(tx: Tx, which: RunSelection, scope: Scope = EVERYTHING) -> list[Run]:
    """The waiting and running runs of a selection, in the order they came; of threads within the scope."""
    query = select(*_COLUMNS).where(runs.c.status.in_(which.statuses))
    query = query.where(*thread_within(tx, runs.c.thread_id, scope))
    if which.thread_id is not None:
        query = query.where(runs.c.thread_id == which.thread_id, runs.c.run_id.in_(which.run_ids))
    return [_run(row) for row in tx.execute(query.order_by(runs.c.seq))]


def has_active(tx: Tx, thread_id: str) -> bool:
    """Whether the thread is busy: delayed runs count (contract/runs.md 13)."""
    return tx.execute(_has_active, {"of_thread": thread_id}).first() is not None


def count(tx: Tx, thread_id: str) -> int:
    """How many runs a thread has."""
    return tx.execute(_count, {"of_thread": thread_id}).scalar_one()


def count_pending(tx: Tx) -> int:
    """How many runs wait, over all threads."""
    return tx.execute(_count_pending).scalar_one()


def count_pending_of(tx: Tx, identity: str) -> int:
    """How many runs of one caller wait."""
    return tx.execute(_count_pending_of, {"of_identity": identity}).scalar_one()


def count_active_of(tx: Tx, identity: str) -> int:
    """How many runs of one caller wait or run, without those that are being stopped."""
    return tx.execute(_count_active_of, {"of_identity": identity}).scalar_one()


def count_by_graph(tx: Tx, status: RunStatus) -> dict[str, int]:
    """How many runs of each graph have a status."""
    return {row.graph_id: row.number for row in tx.execute(_count_by_graph, {"of_status": status})}


def waits(tx: Tx, at: str) -> tuple[str | None, str | None, str | None]:
    """Since when those wait that are due: the first, the one in the middle, the first that may start."""
    due = runs.c.status == RunStatus.pending, runs.c.due_at <= at
    count = tx.execute(select(func.count()).where(*due)).scalar_one()
    if not count:
        return None, None, None
    ordered = select(runs.c.due_at).where(*due).order_by(runs.c.due_at).limit(1)
    first, middle = (tx.execute(ordered.offset(place)).scalar() for place in (0, count // 2))
    free = select(func.min(runs.c.due_at)).where(*_due(at))
    return first, middle, tx.execute(free).scalar()


def newest(tx: Tx, thread_id: str) -> Run | None:
    """The run of a thread that was admitted last."""
    row = tx.execute(_newest, {"of_thread": thread_id}).first()
    return _run(row) if row else None


def is_due(tx: Tx, at: str) -> bool:
    """Whether any run waits that may start, its thread aside."""
    return tx.execute(_is_due, {"at": at}).first() is not None


def claim(tx: Tx, at: str, limit: int, worker_id: str | None = None) -> list[Run]:
    """Start up to `limit` runs that are due: first come, first served, never two of one thread.

    The attempt is counted here, before anything of the graph runs: a run that kills the process is known
    by its attempts (reliability D5). The partial unique index has the last word on "never two".

    Where many claim at once, threads that somebody else is at are passed over. When nothing else is found,
    the first of them is waited for: so whoever gets nothing has seen that there is nothing.
    """
    choose = _choose_free if tx.dialect.name == "postgresql" else _choose
    while found := choose(tx, at, limit):
        if started := _start(tx, at, found, worker_id):
            return started
    return []


def _start(tx: Tx, at: str, found: list[int], worker_id: str | None) -> list[Run]:
    """Those of these that can still be started: before their threads were ours, others were there."""
    started = (
        update(runs)
        .where(runs.c.seq.in_(found), *_due(at))
        .values(status=RunStatus.running, attempt=runs.c.attempt + 1, updated_at=at, worker_id=worker_id)
        .returning(runs.c.seq, *_COLUMNS)
    )
    return [_run(row) for row in sorted(tx.execute(started), key=lambda row: row.seq)]


def _due(at: str) -> list[ColumnElement[bool]]:
    """The conditions that a run may start: it is time, and none of its thread runs or was there before."""
    other = runs.alias("other")
    earlier = (other.c.status == RunStatus.pending) & (other.c.due_at <= at) & (other.c.seq < runs.c.seq)
    blocks = (other.c.thread_id == runs.c.thread_id) & ((other.c.status == RunStatus.running) | earlier)
    blocked = select(other.c.seq).where(blocks).exists()
    return [runs.c.status == RunStatus.pending, runs.c.due_at <= at, ~blocked]


def _choose(tx: Tx, at: str, limit: int) -> list[int]:
    return list(tx.execute(select(runs.c.seq).where(*_due(at)).order_by(runs.c.seq).limit(limit)).scalars())


def _choose_free(tx: Tx, at: str, limit: int) -> list[int]:
    """The first whose threads are ours at once; else, once it is ours, the very first."""
    due = select(runs.c.seq, runs.c.thread_id).where(*_due(at)).order_by(runs.c.seq)
    first = due.limit(CLAIM_MAX).subquery()
    free = select(first.c.seq).where(thread_is_free(first.c.thread_id)).limit(limit)
    if found := list(tx.execute(free).scalars()):
        return found
    for seq, thread_id in tx.execute(due.limit(1)).all():
        lock_thread(tx, thread_id)
        return [seq]
    return []


def next_due(tx: Tx) -> str | None:
    """When the earliest waiting run may start; None when none waits."""
    return tx.execute(_next_due).scalar()


def finish(tx: Tx, run: Run, status: RunStatus, at: str, *, error: Json | None, reason: str | None) -> bool:
    """End this attempt of a running run. False when the attempt no longer owns it: the caller is stale."""
    owner = {"of_run": run.run_id, "of_attempt": run.attempt}
    change = {"to_status": status, "at": at, "with_error": error, "with_reason": reason}
    return tx.execute(_finish, {**owner, **change}).rowcount > 0


def end_pending(tx: Tx, run_id: str, at: str, reason: str) -> bool:
    """Cancel a run that has not started. False when it has, or has ended."""
    statement = (
        update(runs)
        .where(runs.c.run_id == run_id, runs.c.status == RunStatus.pending)
        .values(
            status=RunStatus.interrupted,
            updated_at=at,
            reason=reason,
            error={"error": "UserInterrupt", "message": reason},
        )
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


def threads_of_orphans(tx: Tx) -> list[str]:
    """Threads with a run that nobody executes any more: some of them, if there are very many."""
    return list(tx.execute(select(runs.c.thread_id).where(_orphaned).limit(ORPHANS_MAX)).scalars())


def requeue_orphans(tx: Tx, thread_ids: Sequence[str]) -> int:
    """What nobody executes any more waits again; its attempts stay counted. Returns how many runs."""
    these = _orphaned & runs.c.thread_id.in_(thread_ids)
    statement = update(runs).where(these).values(status=RunStatus.pending)
    return tx.execute(statement).rowcount


def hand_over(tx: Tx, run: Run) -> bool:
    """The server goes down: an attempt gives its run back, and does not count. False when it is stale.

    A run that is to be stopped is not given back: the next start ends it.
    """
    statement = (
        update(runs)
        .where(runs.c.run_id == run.run_id, runs.c.attempt == run.attempt)
        .where(runs.c.status == RunStatus.running, runs.c.stop.is_(None))
        .values(status=RunStatus.pending, handovers=runs.c.handovers + 1)
    )
    return tx.execute(statement).rowcount > 0


def orphans_to_stop(tx: Tx, thread_ids: Sequence[str]) -> list[Run]:
    """Running runs that nobody executes any more, and that somebody has asked to stop."""
    query = select(*_COLUMNS).where(_orphaned, runs.c.thread_id.in_(thread_ids), runs.c.stop.is_not(None))
    return [_run(row) for row in tx.execute(query.order_by(runs.c.seq))]


def spent_orphans(tx: Tx, thread_ids: Sequence[str], attempts_max: int) -> list[Run]:
    """Running runs that nobody executes any more, and that have used up their attempts."""
    spent = runs.c.attempt - runs.c.handovers >= attempts_max
    query = select(*_COLUMNS).where(_orphaned, runs.c.thread_id.in_(thread_ids), spent)
    return [_run(row) for row in tx.execute(query.order_by(runs.c.seq))]


def remove(tx: Tx, run_id: str) -> bool:
    """Delete a run. False if there was none."""
    return tx.execute(delete(runs).where(runs.c.run_id == run_id)).rowcount > 0


def remove_ended(tx: Tx, thread_id: str, newest: int, most: int) -> int:
    """Delete up to `most` runs of a thread that have ended, but not the `newest`; returns how many went."""
    wanted = {"of_thread": thread_id, "newest": newest, "most": most}
    return tx.execute(_remove_ended, wanted).rowcount
