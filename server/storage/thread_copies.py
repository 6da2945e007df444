"""Copying a thread: its checkpoints piece by piece under an id that is nobody's yet, its row at the end."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, delete, insert, literal, select

from ..models import ThreadStatus
from . import blobs
from .database import Tx
from .layouts import Statement
from .pruning import Piece
from .tables import thread_copies, threads

_HERE = "c.thread_id = :source AND c.checkpoint_ns = :ns AND c.checkpoint_id = :id"
# The metadata of a checkpoint names its thread; all else is what it was.
_checkpoint = Statement(f"""
    INSERT INTO checkpoints
        (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
    SELECT :target, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.type, c.checkpoint,
        CASE {{said_thread_id}} WHEN :source THEN {{told_thread_id}} ELSE c.metadata END
    FROM checkpoints c WHERE {_HERE}
""")
_writes = Statement(f"""
    INSERT INTO {{writes}}
        (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, type, {{value}})
    SELECT :target, c.checkpoint_ns, c.checkpoint_id, c.task_id, c.idx, c.task_path, c.channel, c.type,
        c.{{value}}
    FROM {{writes}} c WHERE {_HERE}
""")
_of_copy = thread_copies.c.thread_id == bindparam("of_thread")
_is_begun = select(thread_copies.c.thread_id).where(_of_copy)
_found = select(thread_copies.c.thread_id).limit(bindparam("most"))


def begin(tx: Tx, target: str) -> None:
    """Note that pieces under this id are of no use unless `finish` is called."""
    tx.execute(insert(thread_copies).values(thread_id=target))


def is_begun(tx: Tx, target: str) -> bool:
    """Whether a copy is under way under this id."""
    return tx.execute(_is_begun, {"of_thread": target}).first() is not None


def copy(tx: Tx, source: str, target: str, pieces: Sequence[Piece]) -> None:
    """Copy these checkpoints with what was written beside them, and these values."""
    blobs.copy(tx, source, target, [(piece.namespace, *piece.blob) for piece in pieces if piece.blob])
    keys = [
        {"source": source, "target": target, "ns": piece.namespace, "id": piece.checkpoint_id}
        for piece in pieces
        if piece.blob is None
    ]
    for statement in (_checkpoint, _writes) if keys else ():
        tx.execute(statement.on(tx), keys)


def finish(tx: Tx, source: str, target: str, at: str, owner: str = "") -> None:
    """Make the row: what the source's shows, without what runs on it."""
    named = [column.name for column in threads.c]
    new = {"thread_id": target, "owner": owner}
    columns = [literal(new[name]) if name in new else _column(name, at) for name in named]
    tx.execute(insert(threads).from_select(named, select(*columns).where(threads.c.thread_id == source)))
    forget(tx, target)


def unfinished(tx: Tx, most: int) -> list[str]:
    """Ids of copies that were begun."""
    return list(tx.execute(_found, {"most": most}).scalars())


def forget(tx: Tx, target: str) -> None:
    """There is nothing unfinished under this id."""
    tx.execute(delete(thread_copies).where(_of_copy), {"of_thread": target})


def _column(name: str, at: str) -> ColumnElement[Any]:
    if name in ("created_at", "updated_at", "state_updated_at"):
        return literal(at)
    if name == "status":
        return _status()
    return threads.c[name]


def _status() -> ColumnElement[Any]:
    """Runs are not copied: a busy thread's copy is what its row shows besides."""
    return case(
        (threads.c.status != literal(ThreadStatus.busy), threads.c.status),
        (
            threads.c.interrupts != literal(b"{}", threads.c.interrupts.type),
            literal(ThreadStatus.interrupted),
        ),
        (threads.c.error.is_not(None), literal(ThreadStatus.error)),
        else_=literal(ThreadStatus.idle),
    )
