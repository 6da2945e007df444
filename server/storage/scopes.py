"""What a caller may touch -> conditions of the very statement that looks for it (reliability S1, S4)."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, exists, literal, or_, select, true

from ..rules.access import AnyOf, Scope, Test
from .database import Tx
from .filters import Condition, contains
from .tables import assistants, crons, threads

# Of each table the column that says whose a row is, and its key.
_OWNERS: dict[str, tuple[ColumnElement[Any], ColumnElement[Any]]] = {
    threads.name: (threads.c.owner, threads.c.thread_id),
    assistants.name: (assistants.c.owner, assistants.c.assistant_id),
    crons.name: (crons.c.identity, crons.c.cron_id),
}


def within(tx: Tx, table: Table, scope: Scope) -> list[Condition]:
    """The conditions that a row is within a scope; none where everything is."""
    return [*owned(table, scope), *_all_of(tx, table, scope.tests)]


def owned(table: Table, scope: Scope) -> list[Condition]:
    """The condition that a row is its owner's, or one of those that everybody shares."""
    if scope.owner is None:
        return []
    owner, key = _OWNERS[table.name]
    mine = owner == literal(scope.owner)
    return [or_(mine, key.in_(scope.shared)) if scope.shared else mine]


def thread_within(tx: Tx, thread_id: ColumnElement[Any], scope: Scope) -> list[Condition]:
    """The conditions that the thread of some row is within a scope."""
    if not scope:
        return []
    visible = select(threads.c.thread_id).where(threads.c.thread_id == thread_id)
    return [exists(visible.where(*within(tx, threads, scope)).correlate_except(threads))]


def _all_of(tx: Tx, table: Table, tests: Iterable[Test]) -> list[Condition]:
    return [condition for test in tests for condition in _holds(tx, table, test)]


def _holds(tx: Tx, table: Table, test: Test) -> list[Condition]:
    if isinstance(test, AnyOf):
        return [or_(*(and_(true(), *_all_of(tx, table, group)) for group in test.groups))]
    return contains(tx, table.c.metadata, test.wanted)
