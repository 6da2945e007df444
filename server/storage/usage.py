"""What a thread takes in the database, from what stands there, byte by byte."""

from collections import Counter, defaultdict
from typing import Any

import ormsgpack
from sqlalchemy import text

from ..threads import Amount, ThreadUsage
from .database import Tx

PAGE = 20  # checkpoints that are in memory at a time
_OPTION = ormsgpack.OPT_NON_STR_KEYS
_page = text(
    "SELECT checkpoint_ns, checkpoint_id, type, checkpoint, length(metadata) FROM checkpoints "
    "WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) > (:ns, :id) "
    "ORDER BY checkpoint_ns, checkpoint_id LIMIT :most"
)
_writes = text("SELECT count(*), coalesce(sum(length(value)), 0) FROM writes WHERE thread_id = :thread_id")

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
        wanted = {"thread_id": self._thread_id, "ns": after[0], "id": after[1], "most": PAGE}
        rows = tx.execute(_page, wanted).all()
        for namespace, _, kind, checkpoint, metadata_bytes in rows:
            self.count += 1
            self._bytes += len(checkpoint or b"") + (metadata_bytes or 0)
            self._take_apart(namespace, kind, checkpoint)
        return (rows[-1][0], rows[-1][1]) if len(rows) == PAGE else None

    def result(self, tx: Tx) -> ThreadUsage:
        """What was found, with what was written beside the checkpoints."""
        channels = {
            name: Amount(len(self._versions[name]), size) for name, size in sorted(self._channels.items())
        }
        rest = self._bytes - self._channels.total()
        count, size = tx.execute(_writes, {"thread_id": self._thread_id}).one()
        return ThreadUsage(Amount(self.count, rest), channels, Amount(count, size))

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
