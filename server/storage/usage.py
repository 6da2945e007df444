"""What a thread takes in the database, from what stands there, byte by byte."""

from collections import Counter, defaultdict
from typing import Any

import ormsgpack
from sqlalchemy import TextClause, text

from ..rules.threads import Amount, ThreadUsage
from .database import Tx
from .layouts import Statement, has_blobs

PAGE = 20  # checkpoints that are in memory at a time
_OPTION = ormsgpack.OPT_NON_STR_KEYS
_page = text(
    "SELECT checkpoint_ns, checkpoint_id, type, checkpoint, length(metadata) FROM checkpoints "
    "WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) > (:ns, :id) "
    "ORDER BY checkpoint_ns, checkpoint_id LIMIT :most"
)
_writes = Statement(
    "SELECT count(*), coalesce(sum(length({value})), 0) FROM {writes} WHERE thread_id = :thread_id"
)

# Where values stand apart (storage/blobs.py) the database sums up by itself.
_checkpoints = text("""
    SELECT count(*),
        coalesce(sum(octet_length(CAST(checkpoint AS TEXT)) + octet_length(CAST(metadata AS TEXT))), 0)
    FROM checkpoints WHERE thread_id = :thread_id
""")
_count = text("SELECT count(*) FROM checkpoints WHERE thread_id = :thread_id")
_INLINE = """
    SELECT c.checkpoint_ns, v.key AS channel, c.checkpoint -> 'channel_versions' ->> v.key AS version,
        octet_length(CAST(v.value AS TEXT)) AS bytes
    FROM checkpoints c CROSS JOIN LATERAL jsonb_each(c.checkpoint -> 'channel_values') AS v
    WHERE c.thread_id = :thread_id
"""
_inline = text(f"SELECT coalesce(sum(bytes), 0) FROM ({_INLINE}) AS found")
_by_channel = text(f"""
    SELECT channel, count(DISTINCT (checkpoint_ns, version)), sum(bytes) FROM (
        {_INLINE}
        UNION ALL
        SELECT checkpoint_ns, channel, version, coalesce(octet_length(blob), 0) FROM checkpoint_blobs
        WHERE thread_id = :thread_id
    ) AS found GROUP BY channel ORDER BY channel
""")

Place = tuple[str, str]
BEGINNING: Place = ("", "")


class Usage:
    """Sums up a thread, a page of its checkpoints in each transaction."""

    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id
        self.count = 0  # checkpoints so far
        self._bytes = 0
        self._channels: Counter[str] = Counter()
        self._versions: defaultdict[str, set[Any]] = defaultdict(set)

    def read(self, tx: Tx, after: Place) -> Place | None:
        """Take in the checkpoints after a place; returns the next place, None at the end."""
        if has_blobs(tx):
            self.count = tx.execute(_count, {"thread_id": self._thread_id}).scalar_one()
            return None
        wanted = {"thread_id": self._thread_id, "ns": after[0], "id": after[1], "most": PAGE}
        rows = tx.execute(_page, wanted).all()
        for namespace, _, kind, checkpoint, metadata_bytes in rows:
            self.count += 1
            self._bytes += len(checkpoint or b"") + (metadata_bytes or 0)
            self._take_apart(namespace, kind, checkpoint)
        return (rows[-1][0], rows[-1][1]) if len(rows) == PAGE else None

    def result(self, tx: Tx) -> ThreadUsage:
        """What was found, with what was written beside the checkpoints."""
        if has_blobs(tx):
            return self._summed_up(tx)
        channels = {
            name: Amount(len(self._versions[name]), size) for name, size in sorted(self._channels.items())
        }
        rest = self._bytes - self._channels.total()
        return ThreadUsage(Amount(self.count, rest), channels, self._amount(tx, _writes.on(tx)))

    def _summed_up(self, tx: Tx) -> ThreadUsage:
        whole, writes = self._amount(tx, _checkpoints), self._amount(tx, _writes.on(tx))
        of_thread = {"thread_id": self._thread_id}
        within = int(tx.execute(_inline, of_thread).scalar_one())
        channels = {row[0]: Amount(row[1], int(row[2])) for row in tx.execute(_by_channel, of_thread)}
        return ThreadUsage(Amount(whole.count, whole.bytes - within), channels, writes)

    def _amount(self, tx: Tx, statement: TextClause) -> Amount:
        count, size = tx.execute(statement, {"thread_id": self._thread_id}).one()
        return Amount(count, int(size))

    def _take_apart(self, namespace: str, kind: str, checkpoint: bytes) -> None:
        if kind != "msgpack":
            return
        try:
            sizes, versions = _channels(checkpoint)
        except (TypeError, ValueError):  # what cannot be told apart counts as a whole
            return
        for name, size in sizes.items():
            self._channels[name] += size
            self._versions[name].add((namespace, versions.get(name)))


def _channels(checkpoint: bytes) -> tuple[dict[str, int], dict[str, Any]]:
    """Bytes and version of each channel. Values are not brought to life: what is foreign stays as it is."""
    whole = ormsgpack.unpackb(checkpoint, ext_hook=ormsgpack.Ext, option=_OPTION)
    if not isinstance(whole, dict):
        return {}, {}
    values = whole.get("channel_values") or {}
    sizes = {name: len(ormsgpack.packb(value, option=_OPTION)) for name, value in values.items()}
    return sizes, whole.get("channel_versions") or {}
