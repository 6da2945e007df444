"""What runs leave in LangGraph's tables, and how to undo it.

Checkpoints carry the id of their run in their metadata. What a run writes beside the checkpoint of another,
when it answers an interrupt, is noted in `run_writes`.
"""

import sqlite3
from collections.abc import Iterable

from langchain_core.runnables import RunnableConfig
from sqlalchemy import text

from .database import Tx

_BY = "json_extract(CAST(metadata AS TEXT), '$.run_id')"
_MINE = f"SELECT checkpoint_id FROM checkpoints WHERE thread_id = :thread_id AND {_BY} = :run_id"
_NEWEST = f"""
    SELECT checkpoint_id, {_BY} IS :run_id FROM checkpoints
    WHERE thread_id = :thread_id AND checkpoint_ns = :ns ORDER BY checkpoint_id DESC
"""
AT = "thread_id, checkpoint_ns, checkpoint_id, task_id, idx"
_NOTE = f"""
    INSERT OR IGNORE INTO run_writes (run_id, {AT}, task_path, channel, type, value)
    SELECT :run, :thread, :ns, :checkpoint, :task, :idx, w.task_path, w.channel, w.type, w.value
    FROM (SELECT 1) LEFT JOIN writes w
        ON w.thread_id = :thread AND w.checkpoint_ns = :ns AND w.checkpoint_id = :checkpoint
        AND w.task_id = :task AND w.idx = :idx
    WHERE EXISTS (
        SELECT 1 FROM checkpoints
        WHERE thread_id = :thread AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint
    )
"""
_NOTED = "SELECT 1 FROM run_writes WHERE run_id = :run_id LIMIT 1"
_UNDO = (
    f"DELETE FROM writes WHERE ({AT}) IN (SELECT {AT} FROM run_writes WHERE run_id = :run_id)",
    f"""
    INSERT INTO writes ({AT}, task_path, channel, type, value)
    SELECT {AT}, task_path, channel, type, value
    FROM run_writes WHERE run_id = :run_id AND channel IS NOT NULL
    """,
    "DELETE FROM run_writes WHERE run_id = :run_id",
)


def note_writes(
    raw: sqlite3.Connection, run_id: str, config: RunnableConfig, task_id: str, indexes: Iterable[int]
) -> None:
    """Before a run writes beside a checkpoint of another: keep what stands there, the first time."""
    inner = config["configurable"]
    at = {"run": run_id, "thread": inner["thread_id"], "ns": inner["checkpoint_ns"], "task": task_id}
    raw.executemany(_NOTE, [{**at, "checkpoint": inner["checkpoint_id"], "idx": index} for index in indexes])


def delete_thread(tx: Tx, thread_id: str) -> None:
    """Delete every checkpoint of a thread, in the same transaction as its row."""
    for table in ("checkpoints", "writes", "run_writes"):
        tx.execute(text(f"DELETE FROM {table} WHERE thread_id = :thread_id"), {"thread_id": thread_id})


def delete_run(tx: Tx, thread_id: str, run_id: str) -> None:
    """Undo what one run wrote: the thread is as before it (contract/runs.md 13, 14)."""
    keys = {"thread_id": thread_id, "run_id": run_id}
    for table in ("writes", "checkpoints"):
        statement = f"DELETE FROM {table} WHERE thread_id = :thread_id AND checkpoint_id IN ({_MINE})"
        tx.execute(text(statement), keys)
    for statement in _UNDO:
        tx.execute(text(statement), {"run_id": run_id})


def newest_without(tx: Tx, thread_id: str, run_id: str, namespace: str = "") -> tuple[str | None, bool]:
    """(The thread's newest checkpoint that is not of this run, whether the run changed what it shows)."""
    keys = {"thread_id": thread_id, "run_id": run_id, "ns": namespace}
    changed = tx.execute(text(_NOTED), {"run_id": run_id}).first() is not None
    for checkpoint_id, mine in tx.execute(text(_NEWEST), keys):
        if not mine:
            return checkpoint_id, changed
        changed = True
    return None, changed
