"""Statements about deliveries: the outbox of webhooks, each built once (see runs.py)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from ..models import Delivery, DeliveryStatus
from .database import Tx
from .tables import deliveries

_COLUMNS = tuple(deliveries.c)
_NAMES = tuple(column.name for column in _COLUMNS)
_pending = deliveries.c.status == DeliveryStatus.pending

_add = insert(deliveries)
_count_pending = select(func.count()).select_from(
    select(deliveries.c.delivery_id).where(_pending).limit(bindparam("most")).subquery()
)
_due = (
    select(*_COLUMNS)
    .where(
        _pending,
        deliveries.c.due_at <= bindparam("at"),
        deliveries.c.delivery_id.not_in(bindparam("in_hand", expanding=True)),
    )
    .order_by(deliveries.c.due_at)
    .limit(bindparam("most"))
)
_next_due = select(func.min(deliveries.c.due_at)).where(_pending, deliveries.c.due_at > bindparam("at"))
_record = (
    update(deliveries)
    .where(deliveries.c.delivery_id == bindparam("of_delivery"), _pending)
    .values(
        status=bindparam("to_status"),
        tries=bindparam("with_tries", type_=deliveries.c.tries.type),
        due_at=bindparam("to_due_at"),
        updated_at=bindparam("at"),
    )
)
# What was told is of no use any more, and may be much.
_empty = (
    update(deliveries)
    .where(deliveries.c.delivery_id == bindparam("of_delivery"), ~_pending)
    .values(body=b"null")
)
_of_run = (
    select(*_COLUMNS)
    .where(
        deliveries.c.run_id == bindparam("of_run"),
        deliveries.c.thread_id == bindparam("of_thread"),
        deliveries.c.identity == bindparam("of_identity"),
    )
    .order_by(deliveries.c.created_at)
    .limit(bindparam("most"))
)
_forget = delete(deliveries).where(
    deliveries.c.delivery_id.in_(
        select(deliveries.c.delivery_id)
        .where(~_pending, deliveries.c.updated_at < bindparam("before"))
        .limit(bindparam("most"))
    )
)


def _delivery(row: Any) -> Delivery:
    fields = dict(row._mapping)
    fields["status"] = DeliveryStatus(fields["status"])
    return Delivery(**fields)


def add(tx: Tx, delivery: Delivery) -> None:
    """Put a delivery into the outbox."""
    tx.execute(_add, {name: getattr(delivery, name) for name in _NAMES})


def count_pending(tx: Tx, most: int) -> int:
    """How many are still to be sent, counted up to `most`."""
    return tx.execute(_count_pending, {"most": most}).scalar_one()


def due(tx: Tx, at: str, most: int, in_hand: Sequence[str], full: Sequence[str]) -> list[Delivery]:
    """Those that are due, the longest waiting first; none `in_hand`, none to origins that are `full`."""
    query = _due
    for origin in full:
        query = query.where(~deliveries.c.url.startswith(f"{origin}/", autoescape=True))
    return [_delivery(row) for row in tx.execute(query, {"at": at, "most": most, "in_hand": list(in_hand)})]


def next_due(tx: Tx, at: str) -> str | None:
    """When the next one becomes due after `at`; None when none waits for its time."""
    return tx.execute(_next_due, {"at": at}).scalar()


def record(tx: Tx, delivery: Delivery, at: str) -> None:
    """Store how a delivery stands after a try. One that is over loses its body."""
    change = {"to_status": delivery.status, "with_tries": delivery.tries, "to_due_at": delivery.due_at}
    tx.execute(_record, {"of_delivery": delivery.delivery_id, "at": at, **change})
    if delivery.status is not DeliveryStatus.pending:
        tx.execute(_empty, {"of_delivery": delivery.delivery_id})


def of_run(tx: Tx, thread_id: str, run_id: str, identity: str, most: int) -> list[Delivery]:
    """The deliveries of a run that was that caller's, also when the run itself is gone."""
    wanted = {"of_run": run_id, "of_thread": thread_id, "of_identity": identity, "most": most}
    return [_delivery(row) for row in tx.execute(_of_run, wanted)]


def forget(tx: Tx, before: str, most: int) -> int:
    """Delete up to `most` that were over before a time; returns how many there were."""
    return tx.execute(_forget, {"before": before, "most": most}).rowcount
