"""The values of channels on PostgreSQL, which stand apart from the checkpoints that name their versions.

One goes when no checkpoint names it any more. A run that has read its state may still make one that does: so
values go only from threads on which nothing runs. On SQLite there are none, and nothing happens here.
"""

from collections.abc import Sequence

from sqlalchemy import text

from .database import Tx
from .layouts import has_blobs

Blob = tuple[str, str, str]  # namespace, channel, version

_NAMED = """
    SELECT c.checkpoint_ns, v.key, v.value
    FROM checkpoints c CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') AS v
    WHERE c.thread_id = :thread_id
"""
# Neither of the two joins the rows of a thread with each other: what the planner makes of that can take
# quadratic time where there are many.
_unneeded = text(f"""
    SELECT checkpoint_ns, channel, version, sum(bytes) FROM (
        SELECT checkpoint_ns, channel, version, coalesce(octet_length(blob), 0) AS bytes, 0 AS named
        FROM checkpoint_blobs WHERE thread_id = :thread_id
        UNION ALL
        SELECT n.checkpoint_ns, n.key, n.value, 0, 1 FROM ({_NAMED}
            AND (c.checkpoint_ns, c.checkpoint_id) NOT IN (
                SELECT * FROM unnest(CAST(:gone_ns AS TEXT[]), CAST(:gone_id AS TEXT[])))) AS n
    ) AS found GROUP BY checkpoint_ns, channel, version HAVING max(named) = 0 LIMIT :most
""")
_named = text(f"{_NAMED} AND v.value = ANY(CAST(:versions AS TEXT[]))")
_all = text("""
    SELECT checkpoint_ns, channel, version, coalesce(octet_length(blob), 0)
    FROM checkpoint_blobs WHERE thread_id = :thread_id LIMIT :most
""")
_take = text("""
    DELETE FROM checkpoint_blobs
    WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND channel = :channel AND version = :version
""")
_copy = text("""
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT :target, checkpoint_ns, channel, version, type, blob FROM checkpoint_blobs
    WHERE thread_id = :source AND checkpoint_ns = :ns AND channel = :channel AND version = :version
    ON CONFLICT DO NOTHING
""")
_delete_thread = text("DELETE FROM checkpoint_blobs WHERE thread_id = :thread_id")
# The lock keeps those that wait from being started until the transaction ends.
_others = text("""
    SELECT status FROM runs WHERE thread_id = :thread_id AND run_id <> :run_id
        AND status IN ('pending', 'running') FOR SHARE
""")


def unneeded(
    tx: Tx, thread_id: str, gone: Sequence[tuple[str, str]], most: int
) -> list[tuple[str, str, str, int]]:
    """Values with their bytes that no checkpoint names but those that are `gone`: (namespace, id)."""
    if not has_blobs(tx):
        return []
    without = {"gone_ns": [ns for ns, _ in gone], "gone_id": [id_ for _, id_ in gone]}
    rows = tx.execute(_unneeded, {"thread_id": thread_id, "most": most, **without})
    return [(row[0], row[1], row[2], int(row[3])) for row in rows]


def everything(tx: Tx, thread_id: str, most: int) -> list[tuple[str, str, str, int]]:
    """All values that are kept under an id, with their bytes."""
    if not has_blobs(tx):
        return []
    return [(*row,) for row in tx.execute(_all, {"thread_id": thread_id, "most": most})]


def take(tx: Tx, thread_id: str, found: Sequence[Blob]) -> None:
    """Delete those of these values that no checkpoint names."""
    if not found:
        return
    versions = [version for _, _, version in found]
    named = {(*row,) for row in tx.execute(_named, {"thread_id": thread_id, "versions": versions})}
    if keys := [_key(blob, thread_id=thread_id) for blob in found if blob not in named]:
        tx.execute(_take, keys)


def copy(tx: Tx, source: str, target: str, found: Sequence[Blob]) -> None:
    """Copy these values to another thread."""
    if found:
        tx.execute(_copy, [_key(blob, source=source, target=target) for blob in found])


def delete_thread(tx: Tx, thread_id: str) -> None:
    """Delete every value of a thread."""
    if has_blobs(tx):
        tx.execute(_delete_thread, {"thread_id": thread_id})


def delete_unneeded(tx: Tx, thread_id: str, run_id: str) -> None:
    """Delete what no checkpoint names, unless another run than this may do so soon: the next time, then."""
    if not has_blobs(tx):
        return
    others = tx.execute(_others, {"thread_id": thread_id, "run_id": run_id}).scalars()
    if "running" in others:
        return
    keys = [
        {"thread_id": thread_id, "ns": ns, "channel": channel, "version": version}
        for ns, channel, version, _ in unneeded(tx, thread_id, [], 2**31)
    ]
    if keys:
        tx.execute(_take, keys)


def _key(blob: Blob, **threads: str) -> dict[str, str]:
    return {**threads, "ns": blob[0], "channel": blob[1], "version": blob[2]}
