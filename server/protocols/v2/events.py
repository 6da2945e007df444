"""One event of the thread stream: its envelope, its place, its frame (contract/protocol-v2.md 3)."""

from dataclasses import dataclass
from typing import Any

from ...streaming.broker import Cursor
from ...streaming.encode import encode

# A place in the log of a thread as one number below 2**53, which JavaScript can count to: milliseconds since
# 2025, then 14 bits. Of these an entry of the log takes 64, so that it may make several events: a run that
# emits no more than 256 entries each millisecond of its life is never overtaken by the next. Until 2042.
EPOCH_MS = 1_735_689_600_000
PLACE_BITS = 14
EVENTS_MAX = 64  # of one entry


def sequence(place: Cursor, part: int = 0) -> int:
    """The number of an event: it depends on its place in the log and on nothing else."""
    begun = max(place.epoch - EPOCH_MS, 0) << PLACE_BITS
    return begun + max(place.offset, 0) * EVENTS_MAX + min(part, EVENTS_MAX - 1)


def last_sequence(place: Cursor) -> int:
    """The number behind which everything is new that comes after a place."""
    return sequence(place, EVENTS_MAX - 1)


@dataclass(frozen=True, slots=True)
class Event:
    """What one reader is told. `data` is a value, or JSON that is ready (`raw`)."""

    seq: int
    event_id: str
    method: str
    namespace: tuple[str, ...]
    timestamp: int  # milliseconds since 1970, when it happened
    data: Any
    node: str | None = None

    def encoded(self) -> bytes:
        """The envelope as one line of JSON."""
        params: dict[str, Any] = {"namespace": self.namespace, "timestamp": self.timestamp}
        if self.node is not None:
            params["node"] = self.node
        params["data"] = self.data
        return encode(
            {
                "type": "event",
                "event_id": self.event_id,
                "seq": self.seq,
                "method": self.method,
                "params": params,
            }
        )

    def frame(self) -> bytes:
        """The event as a server-sent event."""
        return b"event: %b\r\ndata: %b\r\nid: %d\r\n\r\n" % (self.method.encode(), self.encoded(), self.seq)
