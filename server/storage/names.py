"""What clients call their runs before they know them, and cancels that came too early; both for a while."""

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select

from .database import Tx
from .tables import early_cancels, run_names

_get = select(run_names.c.run_id, run_names.c.thread_id, run_names.c.fingerprint).where(
    run_names.c.identity == bindparam("of_identity"), run_names.c.name == bindparam("of_name")
)
_add = insert(run_names)
FORGET = 1_000  # rows at a time: the writer serves streams besides


@dataclass(frozen=True, slots=True)
class Named:
    """The run behind a name, and the fingerprint of the request that made it."""

    run_id: str
    thread_id: str
    fingerprint: str


def get(tx: Tx, identity: str, name: str) -> Named | None:
    """The run that this caller gave the name to."""
    row = tx.execute(_get, {"of_identity": identity, "of_name": name}).first()
    return Named(*row) if row else None


def add(tx: Tx, identity: str, name: str, named: Named, at: str) -> None:
    """Remember a name; it must be free."""
    tx.execute(
        _add,
        {
            "identity": identity,
            "name": name,
            "run_id": named.run_id,
            "thread_id": named.thread_id,
            "fingerprint": named.fingerprint,
            "created_at": at,
        },
    )


def cancel_early(tx: Tx, run_id: str, reason: str, at: str, identity: str = "") -> None:
    """Remember that a run is not to begin, should this caller ever create it."""
    tx.execute(delete(early_cancels).where(early_cancels.c.run_id == run_id))
    tx.execute(insert(early_cancels).values(run_id=run_id, reason=reason, created_at=at, identity=identity))


def count_early_cancels(tx: Tx, most: int) -> int:
    """How many are remembered, counted no further than `most`."""
    return len(tx.execute(select(early_cancels.c.run_id).limit(most)).all())


def take_early_cancel(tx: Tx, run_id: str, identity: str = "") -> str | None:
    """The reason of the cancel that waits for this run of a caller; it waits no longer."""
    statement = delete(early_cancels).where(
        early_cancels.c.run_id == run_id, early_cancels.c.identity == identity
    )
    return tx.execute(statement.returning(early_cancels.c.reason)).scalar()


def forget(tx: Tx, names_before: str, cancels_before: str) -> int:
    """Drop some of what is older; returns how many rows went."""
    old_names = (
        select(run_names.c.identity, run_names.c.name)
        .where(run_names.c.created_at < names_before)
        .limit(FORGET)
    )
    gone = 0
    for identity, name in tx.execute(old_names).all():
        gone += tx.execute(
            delete(run_names).where(run_names.c.identity == identity, run_names.c.name == name)
        ).rowcount
    old = early_cancels.c.created_at < cancels_before
    return gone + tx.execute(delete(early_cancels).where(old)).rowcount
