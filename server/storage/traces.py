"""What runs leave in LangGraph's tables, and how to undo it.

Checkpoints carry the id of their run in their metadata. What a run writes beside the checkpoint of another,
when it answers an interrupt, is noted in `run_writes`.
"""

from collections.abc import Iterable
from typing import Any

from langchain_core.runnables import RunnableConfig
from sqlalchemy import bindparam, select, text

from . import blobs
from .database import Tx
from .layouts import Statement
from .tables import runs

_MINE = "SELECT c.checkpoint_id FROM checkpoints c WHERE c.thread_id = :thread_id AND {run_id} = :run_id"
_newest = Statement("""
    SELECT c.checkpoint_id FROM checkpoints c WHERE c.thread_id = :thread_id AND c.checkpoint_ns = :ns
        AND NOT coalesce({run_id} = CAST(:without AS TEXT), false) ORDER BY c.checkpoint_id DESC LIMIT 1
""")
AT = "thread_id, checkpoint_ns, checkpoint_id, task_id, idx"
_note = Statement(f"""
    INSERT INTO run_writes (run_id, {AT}, task_path, channel, type, value)
    SELECT :run, :thread, :ns, :checkpoint, :task, :idx, w.task_path, w.channel, w.type, w.{{value}}
    FROM (SELECT 1) AS one LEFT JOIN {{writes}} w
        ON w.thread_id = :thread AND w.checkpoint_ns = :ns AND w.checkpoint_id = :checkpoint
        AND w.task_id = :task AND w.idx = :idx
    WHERE EXISTS (
        SELECT 1 FROM checkpoints
        WHERE thread_id = :thread AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint
    )
    ON CONFLICT DO NOTHING
""")
_noted = text("SELECT 1 FROM run_writes WHERE run_id = :run_id LIMIT 1")
_delete_mine = [
    Statement(f"DELETE FROM {table} WHERE thread_id = :thread_id AND checkpoint_id IN ({_MINE})")
    for table in ("{writes}", "checkpoints")
]
_undo = [
    Statement(f"DELETE FROM {{writes}} WHERE ({AT}) IN (SELECT {AT} FROM run_writes WHERE run_id = :run_id)"),
    Statement(f"""
    INSERT INTO {{writes}} ({AT}, task_path, channel, type, {{value}})
    SELECT {AT}, task_path, channel, type, value
    FROM run_writes WHERE run_id = :run_id AND channel IS NOT NULL
    """),
    Statement("DELETE FROM run_writes WHERE run_id = :run_id"),
]
_lock_runs = select(runs.c.run_id).where(runs.c.thread_id == bindparam("of_thread")).with_for_update()
_delete_thread = [
    Statement(f"DELETE FROM {table} WHERE thread_id = :thread_id")
    for table in ("checkpoints", "{writes}", "run_writes")
]


def note_writes(run_id: str, config: RunnableConfig, task_id: str, indexes: Iterable[int], tx: Tx) -> None:
    """Before a run writes beside a checkpoint of another: keep what stands there, the first time."""
    inner = config["configurable"]
    at = {"run": run_id, "thread": inner["thread_id"], "ns": inner["checkpoint_ns"], "task": task_id}
    notes = [{**at, "checkpoint": inner["checkpoint_id"], "idx": index} for index in indexes]
    if notes:
        tx.execute(_note.on(tx), notes)


def delete_thread(tx: Tx, thread_id: str) -> None:
    """Delete every checkpoint of a thread, in the same transaction as its row.

    What its runs are writing ends first; from then on they wait here, and find that there is no such run.
    """
    tx.execute(_lock_runs, {"of_thread": thread_id})
    for statement in _delete_thread:
        tx.execute(statement.on(tx), {"thread_id": thread_id})
    blobs.delete_thread(tx, thread_id)


def delete_run(tx: Tx, thread_id: str, run_id: str) -> None:
    """Undo what one run wrote: the thread is as before it (contract/runs.md 13, 14)."""
    for statement in _undo:
        tx.execute(statement.on(tx), {"run_id": run_id})
    for statement in _delete_mine:
        tx.execute(statement.on(tx), {"thread_id": thread_id, "run_id": run_id})
    blobs.delete_unneeded(tx, thread_id, run_id)


def newest_without(tx: Tx, thread_id: str, run_id: str, namespace: str = "") -> tuple[str | None, bool]:
    """(The thread's newest checkpoint that is not of this run, whether the run changed what it shows)."""

    def newest(without: str | None) -> Any:
        wanted = {"thread_id": thread_id, "ns": namespace, "without": without}
        return tx.execute(_newest.on(tx), wanted).scalar()

    found = newest(run_id)
    noted = tx.execute(_noted, {"run_id": run_id}).first() is not None
    return found, noted or found != newest(None)
