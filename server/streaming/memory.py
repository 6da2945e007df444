"""Logs in the memory of one process, bounded by entries, bytes and age."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from .broker import END, Batch, Cursor, Cut, Entry
from .packed import Packed

READ_ENTRIES_MAX = 512
READ_BYTES_MAX = 64 * 1024  # one write to a socket: more would only move the wait into its buffer


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept: per log by entries and bytes, in all by bytes; and how long after the end."""

    entries_max: int = 100_000
    bytes_max: int = 16 * 2**20
    total_bytes_max: int = 256 * 2**20
    replay_seconds: float = 120


class _Log:
    """The log of one run. The writer is any thread, the readers are on one event loop."""

    __slots__ = (
        "bytes",
        "closed",
        "ended_at",
        "entries",
        "epoch",
        "lock",
        "thread_id",
        "waiters",
        "waiting_for_end",
        "waking",
    )

    def __init__(self, epoch: int, thread_id: str) -> None:
        self.epoch = epoch
        self.thread_id = thread_id
        self.entries = Packed()
        self.bytes = 0
        self.closed = False
        self.ended_at: float | None = None
        self.lock = threading.Lock()
        self.waiters: set[asyncio.Future[None]] = set()
        self.waiting_for_end: set[asyncio.Future[None]] = set()
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

    def tail(self) -> Cursor:
        """The place after everything there is."""
        with self.lock:
            return Cursor(self.epoch, self.entries.base + len(self.entries) - 1)

    def last(self) -> Entry:
        with self.lock:
            return next(self.entries.entries(self.entries.base + len(self.entries) - 1))

    def slice(self, after: Cursor) -> Batch:
        with self.lock:
            wanted = after.offset + 1
            if after.epoch != self.epoch or wanted > self.entries.base + len(self.entries):
                wanted = 0  # a place this log never had: everything, rather than a silent nothing
            start = max(wanted, self.entries.base)
            return Batch(_at_most(self.entries.entries(start)), Cursor(self.epoch, start), start - wanted)


def _at_most(entries: Iterable[Entry]) -> list[Entry]:
    """As many entries as fit one read; always the first, however large."""
    found: list[Entry] = []
    size = 0
    for entry in entries:
        found.append(entry)
        size += len(entry.data) + len(entry.shared)
        if size > READ_BYTES_MAX or len(found) == READ_ENTRIES_MAX:
            break
    return found


class MemoryBroker:
    """The logs of one process. Create it on the event loop that reads; append from any thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._logs: dict[str, _Log] = {}
        self._ended: OrderedDict[str, _Log] = OrderedDict()  # oldest end first
        self._bytes = 0
        self._epoch = 0
        self._cut = False
        self._lock = threading.Lock()

    def open(self, run_id: str, thread_id: str) -> None:
        with self._lock:
            if run_id not in self._logs:
                # A log that begins after another has a larger epoch: ids only ever grow.
                self._epoch = max(self._epoch + 1, time.time_ns() // 1_000_000)
                self._logs[run_id] = _Log(self._epoch, thread_id)

    def append(self, run_id: str, entry: Entry) -> None:
        log = self._logs.get(run_id)
        if log is not None:
            self._add(log, entry)

    def end(self, run_id: str, data: bytes) -> None:
        log = self._logs.get(run_id)
        if log is None or not self._add(log, Entry(END, data), last=True):
            return
        log.ended_at = time.monotonic()
        with self._lock:
            self._ended[run_id] = log
            self._expire()
        if log.waiting_for_end:
            self._loop.call_soon_threadsafe(_resolve, log.waiting_for_end)

    def _add(self, log: _Log, entry: Entry, *, last: bool = False) -> bool:
        grown = log.add(entry, self._limits, last=last)
        if grown is None:
            return False
        with self._lock:
            self._bytes += grown
            if self._bytes > self._limits.total_bytes_max:
                self._make_room(log)
        # The entry is in the log before the waiters are looked at, and a reader is among the waiters before
        # it looks at the log: one of the two always sees the other.
        if log.waiters and not log.waking:
            log.waking = True
            self._loop.call_soon_threadsafe(_wake, log)
        return True

    def thread_of(self, run_id: str) -> str | None:
        log = self._logs.get(run_id)
        return None if log is None else log.thread_id

    def tail(self, run_id: str) -> Cursor | None:
        log = self._logs.get(run_id)
        return None if log is None else log.tail()

    async def read(self, run_id: str, after: Cursor, seconds: float) -> Batch | None:
        log = self._logs.get(run_id)
        if log is None:
            return None
        deadline = self._loop.time() + seconds
        while True:
            if self._cut:
                raise Cut
            waiter = self._loop.create_future()
            log.waiters.add(waiter)
            try:
                batch = log.slice(after)
                left = deadline - self._loop.time()
                if batch.entries or batch.lost or left <= 0:
                    return batch
                await _first(waiter, left)
            finally:
                log.waiters.discard(waiter)

    async def ended(self, run_id: str, seconds: float) -> Entry | None:
        log = self._logs.get(run_id)
        if log is None:
            return None
        waiter = self._loop.create_future()
        log.waiting_for_end.add(waiter)
        try:
            if log.ended_at is None and not self._cut:
                await _first(waiter, seconds)
        finally:
            log.waiting_for_end.discard(waiter)
        if log.ended_at is None and self._cut:
            raise Cut
        return log.last() if log.ended_at is not None else None

    def cut(self) -> None:
        self._cut = True
        for log in list(self._logs.values()):
            _wake(log)
            _resolve(log.waiting_for_end)

    def expire(self) -> None:
        with self._lock:
            self._expire()

    def _make_room(self, log: _Log) -> None:
        """Too much in all: finished logs go first, then the oldest entries of the log that grows."""
        self._expire()
        if self._bytes > self._limits.total_bytes_max:
            self._bytes -= log.shrink()

    def _expire(self) -> None:
        oldest = time.monotonic() - self._limits.replay_seconds
        while self._ended:
            run_id, log = next(iter(self._ended.items()))
            old = log.ended_at is not None and log.ended_at < oldest
            if not old and self._bytes <= self._limits.total_bytes_max:
                return
            del self._ended[run_id], self._logs[run_id]
            self._bytes -= log.bytes


def _wake(log: _Log) -> None:
    log.waking = False
    _resolve(log.waiters)


def _resolve(waiters: "set[asyncio.Future[None]]") -> None:
    for waiter in waiters:
        _let_go(waiter)


async def _first(waiter: "asyncio.Future[None]", seconds: float) -> None:
    """Wait for the waiter or the deadline, whichever is first. A timer is cheaper than a timeout scope."""
    timer = asyncio.get_running_loop().call_later(seconds, _let_go, waiter)
    try:
        await waiter
    finally:
        timer.cancel()


def _let_go(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
