"""What runs leave in LangGraph's tables, found by the run id that its checkpoints carry in their metadata."""

from sqlalchemy import text

from .database import Tx

_BY = "json_extract(CAST(metadata AS TEXT), '$.run_id')"
_MINE = f"SELECT checkpoint_id FROM checkpoints WHERE thread_id = :thread_id AND {_BY} = :run_id"
_NEWEST = (
    f"SELECT checkpoint_id, {_BY} IS :run_id FROM checkpoints "
    "WHERE thread_id = :thread_id AND checkpoint_ns = '' ORDER BY checkpoint_id DESC"
)


def delete_thread(tx: Tx, thread_id: str) -> None:
    """Delete every checkpoint of a thread, in the same transaction as its row."""
    for table in ("checkpoints", "writes"):
        tx.execute(text(f"DELETE FROM {table} WHERE thread_id = :thread_id"), {"thread_id": thread_id})


def delete_run(tx: Tx, thread_id: str, run_id: str) -> None:
    """Delete the checkpoints that one run wrote: the thread is as before it (contract/runs.md 13, 14)."""
    keys = {"thread_id": thread_id, "run_id": run_id}
    for table in ("writes", "checkpoints"):
        tx.execute(
            text(f"DELETE FROM {table} WHERE thread_id = :thread_id AND checkpoint_id IN ({_MINE})"), keys
        )


def newest_without(tx: Tx, thread_id: str, run_id: str) -> tuple[str | None, bool]:
    """(The newest checkpoint of the thread that is not of this run, whether the run has a newer one)."""
    found = tx.execute(text(_NEWEST), {"thread_id": thread_id, "run_id": run_id})
    newer = False
    for checkpoint_id, mine in found:
        if not mine:
            return checkpoint_id, newer
        newer = True
    return None, newer
