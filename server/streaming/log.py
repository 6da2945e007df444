"""One log in memory, bounded by entries and bytes; and the logs of a thread, one after the other."""

import asyncio
import threading
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

from .broker import BEGINNING, Batch, Cursor, Entry
from .packed import Packed

READ_ENTRIES_MAX = 512
READ_BYTES_MAX = 64 * 1024  # one write to a socket: more would only move the wait into its buffer
Waiters = set["asyncio.Future[None]"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept: per log by entries and bytes, in all by bytes; and how long after the end."""

    entries_max: int = 100_000
    bytes_max: int = 16 * 2**20
    total_bytes_max: int = 256 * 2**20
    replay_seconds: float = 120


class Log:
    """The log of one run. The writer is any thread, the readers are on one event loop.

    It begins with its first entry: `epoch` is 0 before. A `copy` is of a log that another process writes, and
    may be behind it. What is `pending` has not yet been sent to where the other processes see it. A log that
    was replaced by another one knows up to where the two agree.
    """

    __slots__ = (
        "agreed",
        "bytes",
        "closed",
        "copy",
        "ended_at",
        "entries",
        "epoch",
        "expired",
        "key",
        "lock",
        "pending",
        "thread_id",
        "waiters",
        "waiting_for_end",
        "waking",
    )

    def __init__(self, key: str, thread_id: str, *, copy: bool = False) -> None:
        self.key = key
        self.copy = copy
        self.pending = False
        self.agreed: int | None = None
        self.epoch = 0
        self.thread_id = thread_id
        self.entries = Packed()
        self.bytes = 0
        self.closed = False
        self.expired = False
        self.ended_at: float | None = None
        self.lock = threading.Lock()
        self.waiters: Waiters = set()
        self.waiting_for_end: Waiters = set()
        self.waking = False

    def add(self, entry: Entry, limits: Limits, *, last: bool = False) -> int | None:
        """Append; returns by how many bytes the log grew (negative when it was compressed or forgot).

        After the `last` entry nothing is taken any more: None.
        """
        with self.lock:
            if self.closed:
                return None
            grown = -self.entries.seal() if self.entries.full else 0
            grown += self.entries.add(entry)
            if last:
                self.closed = True
                grown -= self.entries.seal()
            self.bytes += grown
            if len(self.entries) > limits.entries_max or self.bytes > limits.bytes_max:
                grown -= self._forget()
            return grown

    def shrink(self) -> int:
        """Forget the oldest entries because all logs together are too large; returns the bytes freed."""
        with self.lock:
            return self._forget()

    def _forget(self) -> int:
        # The newest page stays, however small the limit: what was just written is not dropped unread.
        freed = self.entries.forget() if self.entries.pages > 1 else 0
        self.bytes -= freed
        return freed

    def skip(self, offset: int) -> int:
        """What comes next is the entry at `offset`: those before it are gone. Returns the bytes freed."""
        with self.lock:
            freed, self.bytes = self.bytes, 0
            self.entries = Packed()
            self.entries.base = offset
            return freed

    def tail(self) -> Cursor:
        """The place after everything there is."""
        with self.lock:
            return Cursor(self.epoch, self._next - 1) if self.epoch else BEGINNING

    @property
    def _next(self) -> int:
        return self.entries.base + len(self.entries)

    def read_by(self, after: Cursor) -> bool:
        """Whether a reader at this place of the log has all that will ever be in it."""
        return self.closed and after.offset >= self.tail().offset

    def last(self) -> Entry:
        """The newest entry."""
        with self.lock:
            return next(self.entries.entries(self._next - 1))

    def slice(
        self, after: Cursor, entries_max: int = READ_ENTRIES_MAX, bytes_max: int = READ_BYTES_MAX
    ) -> Batch:
        """What comes after a place, as much as one read takes."""
        with self.lock:
            wanted = after.offset + 1
            if self.agreed is not None:  # a reader comes back, and then to the log that is valid now
                return Batch([], Cursor(after.epoch, wanted), int(after.offset >= self.agreed))
            if self.copy and not self.closed and after.epoch == self.epoch and wanted > self._next:
                return Batch([], Cursor(after.epoch, wanted))  # the reader saw more elsewhere
            if after.epoch != self.epoch or wanted > self._next:
                wanted = 0  # a place this log never had: everything, rather than a silent nothing
            start = max(wanted, self.entries.base)
            found = _at_most(self.entries.entries(start), entries_max, bytes_max)
            return Batch(found, Cursor(self.epoch, start), start - wanted)


def _at_most(entries: Iterable[Entry], entries_max: int, bytes_max: int) -> list[Entry]:
    """As many entries as fit one read; always the first, however large."""
    found: list[Entry] = []
    size = 0
    for entry in entries:
        found.append(entry)
        size += len(entry.data) + len(entry.shared)
        if size > bytes_max or len(found) == entries_max:
            break
    return found


class ThreadLog:
    """The logs of one thread that have begun, the oldest first. Guarded by the lock of whoever keeps it."""

    __slots__ = ("forgotten", "logs", "renewed", "waiters")

    def __init__(self, forgotten: Cursor) -> None:
        self.logs: list[Log] = []
        self.forgotten = forgotten  # the last place that is gone
        self.renewed = BEGINNING  # where the thread that had this id before ended
        self.waiters: Waiters = set()

    @property
    def unused(self) -> bool:
        return not self.logs and not self.waiters

    def forget(self, log: Log) -> None:
        """One of the logs is too old. It goes when those before it have gone: a run that was cancelled while
        it waited is told of after the one that it waited for, however long that takes."""
        log.expired = True
        while self.logs and self.logs[0].expired:
            self.forgotten = self.logs.pop(0).tail()

    def insert(self, log: Log) -> None:
        """A log has begun: it comes after those that began before it."""
        insort(self.logs, log, key=lambda other: other.epoch)

    def renew(self, place: Cursor) -> None:
        """The thread was deleted: whoever comes to another one of this id sees nothing of it."""
        self.renewed = max(self.renewed, place, key=_place)

    def at(self, after: Cursor) -> Log | None:
        """The log in which what comes after a place is, or will be; None when it has not begun."""
        after = after if after.epoch else self.renewed
        for log in self.logs:
            if log.epoch > after.epoch or (log.epoch == after.epoch and not log.read_by(after)):
                return log
        return None

    def lost(self, after: Cursor) -> bool:
        """Whether something after a place is gone. Who asks for the beginning takes what there is."""
        # The last entry of a run's log is its END, which no reader sees.
        return after.epoch > 0 and _place(after) < (self.forgotten.epoch, self.forgotten.offset - 1)

    def tail(self) -> Cursor:
        """The place from which on everything is new: in the log that goes on, else after everything."""
        for log in self.logs:
            if not log.closed:
                return log.tail()
        return self.logs[-1].tail() if self.logs else self.forgotten


def _place(cursor: Cursor) -> tuple[int, int]:
    return cursor.epoch, cursor.offset
