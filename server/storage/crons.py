"""Statements about crons, those of the scheduler built once (see runs.py).

A tick is taken by the row itself: the date it is due is replaced by the next one, and only while it still
stands there. Whoever does that in the transaction that admits the run has made it once and for all.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from ..models import Page
from ..rules.access import EVERYTHING, Scope
from ..rules.crons import Cron, CronQuery, Tick
from . import filters, scopes
from .database import Tx
from .tables import crons

Visible = tuple[Scope, Scope]  # which crons, and of those that are bound to a thread, of which threads
ALL: Visible = (EVERYTHING, EVERYTHING)
_COLUMNS = tuple(crons.c)
_NEVER = "z"  # beyond all dates and ids, on every engine: what has none comes last
_ORDER = filters.Order(
    {
        "cron_id": crons.c.cron_id,
        "assistant_id": crons.c.assistant_id,
        "thread_id": func.coalesce(crons.c.thread_id, _NEVER),
        "next_run_date": func.coalesce(crons.c.next_run_date, _NEVER),
        "end_time": func.coalesce(crons.c.ends_at, _NEVER),
        "created_at": crons.c.created_at,
        "updated_at": crons.c.updated_at,
    },
    default="created_at",
    key=crons.c.cron_id,
)

_this = crons.c.cron_id == bindparam("of_cron")
_get = select(*_COLUMNS).where(_this)
_get_to_change = _get.with_for_update()
_replace = update(crons).where(_this)
_remove = delete(crons).where(_this)
_count_of = select(func.count()).where(crons.c.identity == bindparam("of_identity"))
_remove_of_assistant = delete(crons).where(crons.c.assistant_id == bindparam("of_assistant"))
_remove_of_thread = delete(crons).where(crons.c.thread_id == bindparam("of_thread"))
_due = (
    select(crons.c.cron_id, crons.c.next_run_date)
    .where(
        crons.c.enabled,
        crons.c.due_at <= bindparam("at"),
        crons.c.cron_id.not_in(bindparam("in_hand", expanding=True)),
    )
    .order_by(crons.c.due_at)
    .limit(bindparam("most"))
)
_next_due = select(func.min(crons.c.due_at)).where(crons.c.enabled, crons.c.due_at > bindparam("at"))
_of_tick = _this & (crons.c.next_run_date == bindparam("of_date")) & crons.c.enabled
_take = (
    update(crons)
    .where(_of_tick, crons.c.updated_at == bindparam("as_of"))
    .values(next_run_date=bindparam("to_date"), due_at=bindparam("to_date"))
)
_postpone = update(crons).where(_of_tick).values(due_at=bindparam("to_due_at"))


def _cron(row: Any) -> Cron:
    return Cron(**row._mapping)


def _values(cron: Cron) -> dict[str, Any]:
    return {column.name: getattr(cron, column.name) for column in _COLUMNS}


def add(tx: Tx, cron: Cron) -> None:
    """Store a new cron; the id must be free."""
    tx.execute(insert(crons), _values(cron))


def get(tx: Tx, cron_id: str, scope: Scope = EVERYTHING) -> Cron | None:
    """One cron by id."""
    row = tx.execute(_get.where(*scopes.within(tx, crons, scope)), {"of_cron": cron_id}).first()
    return _cron(row) if row else None


def get_to_change(tx: Tx, cron_id: str, scope: Scope = EVERYTHING) -> Cron | None:
    """One cron by id, which nobody else changes before this transaction has ended."""
    statement = _get_to_change.where(*scopes.within(tx, crons, scope))
    row = tx.execute(statement, {"of_cron": cron_id}).first()
    return _cron(row) if row else None


def replace(tx: Tx, cron: Cron) -> None:
    """Store what the cron is from now on."""
    tx.execute(_replace, {"of_cron": cron.cron_id, **_values(cron)})


def remove(tx: Tx, cron_id: str, scope: Scope = EVERYTHING) -> bool:
    """Delete a cron. False if there was none."""
    statement = _remove.where(*scopes.within(tx, crons, scope))
    return tx.execute(statement, {"of_cron": cron_id}).rowcount > 0


def remove_of_assistant(tx: Tx, assistant_id: str) -> None:
    """Delete the crons of an assistant."""
    tx.execute(_remove_of_assistant, {"of_assistant": assistant_id})


def remove_of_thread(tx: Tx, thread_id: str) -> None:
    """Delete the crons of a thread that is about to go; with its row they would go anyway."""
    tx.execute(_remove_of_thread, {"of_thread": thread_id})


def count_of(tx: Tx, identity: str) -> int:
    """How many crons a caller has."""
    return tx.execute(_count_of, {"of_identity": identity}).scalar_one()


def search(tx: Tx, query: CronQuery, page: Page, mine: Visible = ALL) -> tuple[list[Cron], int]:
    """A page of the crons that a query describes, and how many there are on all pages."""
    rows, total = filters.page_of(tx, select(*_COLUMNS).where(*_conditions(tx, query, mine)), page, _ORDER)
    return [_cron(row) for row in rows], total


def count(tx: Tx, query: CronQuery, mine: Visible = ALL) -> int:
    """How many crons a query describes."""
    return filters.count_of(tx, select(*_COLUMNS).where(*_conditions(tx, query, mine)))


def due(tx: Tx, at: str, most: int, in_hand: Sequence[str]) -> list[Tick]:
    """The ticks to see to now, the longest waiting first, but none of the crons `in_hand`.

    Nothing else of a cron is read: one that cannot be read must not stop the others.
    """
    found = tx.execute(_due, {"at": at, "most": most, "in_hand": list(in_hand)})
    return [Tick(*row) for row in found]


def next_due(tx: Tx, at: str) -> str | None:
    """When there is something to see to after `at`; None when there never is."""
    return tx.execute(_next_due, {"at": at}).scalar()


def take(tx: Tx, cron: Cron, to_date: str | None) -> bool:
    """Put the next date in the place of the one that is due. False if the cron is not as it was read."""
    as_read = {"of_cron": cron.cron_id, "of_date": cron.next_run_date, "as_of": cron.updated_at}
    return tx.execute(_take, {**as_read, "to_date": to_date}).rowcount > 0


def postpone(tx: Tx, tick: Tick, to: str) -> None:
    """See to a tick later, unless it was taken meanwhile."""
    tx.execute(_postpone, {"of_cron": tick.cron_id, "of_date": tick.at, "to_due_at": to})


def _conditions(tx: Tx, query: CronQuery, mine: Visible) -> list[filters.Condition]:
    of_crons, of_threads = mine
    found = scopes.within(tx, crons, of_crons)
    found += [
        crons.c.thread_id.is_(None) | condition
        for condition in scopes.thread_within(tx, crons.c.thread_id, of_threads)
    ]
    found += filters.contains(tx, crons.c.metadata, query.metadata)
    if query.assistant_id is not None:
        found.append(crons.c.assistant_id == query.assistant_id)
    if query.thread_id is not None:
        found.append(crons.c.thread_id == query.thread_id)
    if query.enabled is not None:
        found.append(crons.c.enabled == query.enabled)
    return found
