"""What of a thread's past can go, and taking it away piece by piece: the writer serves others in between.

A checkpoint holds all values, so an older one can go. Three things are needed all the same:
- The newest of a namespace that lives on from step to step: that of a subgraph with a memory of its own. The
  namespace of any other names its task, and what is older than the state it belongs to is out of reach.
- What a checkpoint with delta channels is made of: its ancestors, up to one that holds the channels whole.
- What a waiting run may begin at. Whoever takes pieces away leaves busy threads alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from ..rules.threads import Keep
from . import blobs
from .database import Tx
from .layouts import Statement

PIECES_MAX = 5_000  # that are looked for at a time
SLICE_PIECES = 100
SLICE_BYTES = 4 * 2**20  # what goes in one transaction: some 10 ms of the writer
PAGE = 1_000  # threads
_GREGORIAN = datetime.fromisoformat("1582-10-15T00:00:00+00:00")

_LIVES_ON = """c.checkpoint_ns NOT LIKE '%:%' AND c.checkpoint_id = (
    SELECT max(n.checkpoint_id) FROM checkpoints n
    WHERE n.thread_id = c.thread_id AND n.checkpoint_ns = c.checkpoint_ns)"""
_PIECE = """SELECT c.checkpoint_ns, c.checkpoint_id, {stored_bytes} + coalesce((
    SELECT sum(length(w.{value})) FROM {writes} w WHERE w.thread_id = c.thread_id
        AND w.checkpoint_ns = c.checkpoint_ns AND w.checkpoint_id = c.checkpoint_id), 0)
    FROM checkpoints c WHERE c.thread_id = :thread_id"""
_OLDEST_FIRST = "ORDER BY c.checkpoint_id, c.checkpoint_ns LIMIT :most"
_all = Statement(f"{_PIECE} {_OLDEST_FIRST}")
_outdated = Statement(f"""
    WITH RECURSIVE needed(ns, id) AS (
        SELECT c.checkpoint_ns, c.parent_checkpoint_id FROM checkpoints c
        WHERE c.thread_id = :thread_id AND (c.checkpoint_id >= :cut OR ({_LIVES_ON}))
            AND {{delta_counters}} IS NOT NULL
        UNION
        SELECT c.checkpoint_ns, c.parent_checkpoint_id FROM needed JOIN checkpoints c
        ON c.thread_id = :thread_id AND c.checkpoint_ns = needed.ns AND c.checkpoint_id = needed.id
        WHERE {{delta_counters}} IS NOT NULL
    )
    {_PIECE} AND c.checkpoint_id < :cut AND NOT ({_LIVES_ON})
        AND (c.checkpoint_ns, c.checkpoint_id) NOT IN (SELECT ns, id FROM needed WHERE id IS NOT NULL)
    {_OLDEST_FIRST}
""")
_nth_newest = text(
    "SELECT checkpoint_id FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '' "
    "ORDER BY checkpoint_id DESC LIMIT 1 OFFSET :skip"
)
_take = [
    Statement(
        f"DELETE FROM {table} WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :id"
    )
    for table in ("{writes}", "run_writes", "checkpoints")
]
_page_end = text(
    "SELECT thread_id FROM threads WHERE thread_id > :after ORDER BY thread_id LIMIT 1 OFFSET :skip"
)
_with_past = text("""
    SELECT thread_id FROM checkpoints
    WHERE thread_id > :after AND (CAST(:last AS TEXT) IS NULL OR thread_id <= :last) AND checkpoint_ns = ''
    GROUP BY thread_id HAVING count(*) > :count OR (count(*) > 1 AND min(checkpoint_id) < :cut)
""")


@dataclass(frozen=True, slots=True)
class Piece:
    """A checkpoint with the writes beside it; or, where values stand apart, one of those."""

    namespace: str
    checkpoint_id: str
    bytes: int
    blob: tuple[str, str] | None = None  # channel, version


def outdated(tx: Tx, thread_id: str, keep: Keep, at: datetime) -> list[Piece]:
    """What a thread need not keep then: checkpoints, oldest first, then values; PIECES_MAX of each."""
    newest = _newest(tx, thread_id, 1)
    if newest is None:
        return []
    by_count = _newest(tx, thread_id, keep.checkpoints) if keep.checkpoints else None
    cut = min(newest, max(by_count or "", _first_id(keep, at)))
    wanted = {"thread_id": thread_id, "cut": cut, "most": PIECES_MAX}
    found = [Piece(*row) for row in tx.execute(_outdated.on(tx), wanted)]
    gone = [(piece.namespace, piece.checkpoint_id) for piece in found]
    return found + _pieces(blobs.unneeded(tx, thread_id, gone, PIECES_MAX))


def everything(tx: Tx, thread_id: str, most: int = PIECES_MAX) -> list[Piece]:
    """All that is kept under an id: values that stand apart, then checkpoints, the oldest first.

    In this order it can be copied while it is taken away: no checkpoint is without its values.
    """
    found = _pieces(blobs.everything(tx, thread_id, most))
    return found + [Piece(*row) for row in tx.execute(_all.on(tx), {"thread_id": thread_id, "most": most})]


def slices(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """The pieces in parts that are small enough for a transaction each."""
    part: list[Piece] = []
    size = 0
    for piece in pieces:
        if part and (len(part) == SLICE_PIECES or size + piece.bytes > SLICE_BYTES):
            yield part
            part, size = [], 0
        part.append(piece)
        size += piece.bytes
    if part:
        yield part


def take(tx: Tx, thread_id: str, pieces: Sequence[Piece]) -> None:
    """Delete these checkpoints with what was written beside them, and these values if none needs them."""
    keys = [
        {"thread_id": thread_id, "ns": piece.namespace, "id": piece.checkpoint_id}
        for piece in pieces
        if piece.blob is None
    ]
    for statement in _take if keys else ():
        tx.execute(statement.on(tx), keys)
    blobs.take(tx, thread_id, [(piece.namespace, *piece.blob) for piece in pieces if piece.blob])


def with_past(tx: Tx, keep: Keep, after: str, at: datetime) -> tuple[list[str], str | None]:
    """(Threads that may have more than they need keep, the last thread that was looked at; None: of all).

    Looks at PAGE threads, those above `after`, and at the index of their checkpoints only.
    """
    last = tx.execute(_page_end, {"after": after, "skip": PAGE - 1}).scalar()
    limits = {"count": keep.checkpoints or 2**62, "cut": _first_id(keep, at)}
    return list(tx.execute(_with_past, {"after": after, "last": last, **limits}).scalars()), last


def _pieces(found: list[tuple[str, str, str, int]]) -> list[Piece]:
    return [Piece(namespace, "", size, (channel, version)) for namespace, channel, version, size in found]


def _newest(tx: Tx, thread_id: str, nth: int) -> str | None:
    return tx.execute(_nth_newest, {"thread_id": thread_id, "skip": nth - 1}).scalar()


def _first_id(keep: Keep, at: datetime) -> str:
    """The smallest id (UUIDv6, which sort by time) of a checkpoint that is young enough."""
    if keep.days is None:
        return ""
    ticks = (at - timedelta(days=keep.days) - _GREGORIAN) // timedelta(microseconds=1) * 10
    return f"{ticks >> 28:08x}-{ticks >> 12 & 0xFFFF:04x}-6{ticks & 0xFFF:03x}"
