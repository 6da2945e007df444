"""Logs in the memory of one process, bounded by entries, bytes and age."""

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from .broker import END, GONE, Batch, Cursor, Cut, Entry
from .log import Limits, Log, ThreadLog, Waiters

PLACES_MAX = 10_000  # quiet threads of which it is known what of them is gone


class MemoryBroker:
    """The logs of one process. Create it on the event loop that reads; append from any thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._logs: dict[str, Log] = {}
        self._threads: dict[str, ThreadLog] = {}
        self._ended: deque[Log] = deque()  # oldest end first
        self._bytes = 0
        self._epoch = time.time_ns() // 1_000_000
        # Of threads without logs: the last place that is gone. Of all others it is taken to be this one.
        self._places: OrderedDict[str, Cursor] = OrderedDict()
        self._unknown = Cursor(self._epoch, 0)
        self._cut = False
        self._lock = threading.Lock()

    def open(self, run_id: str, thread_id: str) -> None:
        with self._lock:
            if run_id not in self._logs:
                self._logs[run_id] = Log(run_id, thread_id)

    async def begin(self, run_id: str, thread_id: str, attempt: int) -> None:
        self.open(run_id, thread_id)

    def append(self, run_id: str, entry: Entry) -> None:
        log = self._logs.get(run_id)
        if log is not None:
            self._add(log, entry)

    async def end(self, run_id: str, data: bytes) -> None:
        log = self._logs.get(run_id)
        if log is None or not self._add(log, Entry(END, data), last=True):
            return
        self._ends(log)
        if log.waiting_for_end:
            self._loop.call_soon_threadsafe(_resolve, log.waiting_for_end)

    async def note(self, thread_id: str, entry: Entry) -> None:
        log = Log("", thread_id)
        self._add(log, entry, last=True)
        if entry.event == GONE:
            with self._lock:
                self._threads[thread_id].renew()
        self._ends(log)

    def _ends(self, log: Log) -> None:
        log.ended_at = time.monotonic()
        with self._lock:
            self._ended.append(log)
            self._expire()

    def _begin(self, log: Log) -> None:
        """The first entry comes: the log has its place among those of its thread from now on."""
        with self._lock:
            if log.epoch:
                return
            # A log that begins after another has a larger epoch: ids only ever grow.
            self._epoch = max(self._epoch + 1, time.time_ns() // 1_000_000)
            log.epoch = self._epoch
            thread = self._thread(log.thread_id)
            thread.logs.append(log)
        if thread.waiters:
            self._loop.call_soon_threadsafe(_resolve, thread.waiters)

    def _thread(self, thread_id: str) -> ThreadLog:
        found = self._threads.get(thread_id)
        if found is None:
            gone = self._places.pop(thread_id, self._unknown)
            found = self._threads[thread_id] = ThreadLog(gone)
        return found

    def _add(self, log: Log, entry: Entry, *, last: bool = False) -> bool:
        if not log.epoch:
            self._begin(log)
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

    async def thread_of(self, run_id: str) -> str | None:
        log = self._logs.get(run_id)
        return None if log is None else log.thread_id

    async def tail(self, run_id: str) -> Cursor | None:
        log = self._logs.get(run_id)
        return None if log is None else log.tail()

    async def tail_of_thread(self, thread_id: str) -> Cursor:
        with self._lock:
            thread = self._threads.get(thread_id)
            return thread.tail() if thread else self._places.get(thread_id, self._unknown)

    async def read(self, run_id: str, after: Cursor, seconds: float) -> Batch | None:
        log = self._logs.get(run_id)
        return None if log is None else await self._read(log, after, self._loop.time() + seconds)

    async def follow(self, thread_id: str, after: Cursor, seconds: float) -> Batch:
        deadline = self._loop.time() + seconds
        while True:
            with self._following(thread_id) as (thread, waiter):
                with self._lock:
                    log, lost = thread.at(after), thread.lost(after)
                left = deadline - self._loop.time()
                if log is None and not lost and self._cut:
                    raise Cut
                if lost or (log is None and left <= 0):
                    return Batch([], Cursor(after.epoch, after.offset + 1), int(lost))
                if log is None:
                    await _first(waiter, left)
                    continue
            return await self._read(log, after, deadline)

    async def _read(self, log: Log, after: Cursor, deadline: float) -> Batch:
        """What is in a log after a place, or what comes there: also when the log is forgotten meanwhile."""
        while True:
            waiter = self._loop.create_future()
            log.waiters.add(waiter)  # before the log is looked at, see _add
            try:
                batch = log.slice(after)
                left = deadline - self._loop.time()
                if batch.entries or batch.lost:
                    return batch
                if self._cut:
                    raise Cut
                if left <= 0:
                    return batch
                await _first(waiter, left)
            finally:
                log.waiters.discard(waiter)

    @contextmanager
    def _following(self, thread_id: str) -> "Iterator[tuple[ThreadLog, asyncio.Future[None]]]":
        """The log of a thread, with a waiter in it, so that it stays."""
        waiter = self._loop.create_future()
        with self._lock:
            thread = self._thread(thread_id)
            thread.waiters.add(waiter)
        try:
            yield thread, waiter
        finally:
            with self._lock:
                thread.waiters.discard(waiter)
                self._drop_unused(thread_id)

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
        for thread in list(self._threads.values()):
            _resolve(thread.waiters)

    def expire(self) -> None:
        with self._lock:
            self._expire()

    def _make_room(self, log: Log) -> None:
        """Too much in all: finished logs go first, then the oldest entries of the log that grows."""
        self._expire()
        if self._bytes > self._limits.total_bytes_max:
            self._bytes -= log.shrink()

    def _expire(self) -> None:
        oldest = time.monotonic() - self._limits.replay_seconds
        while self._ended:
            log = self._ended[0]
            old = log.ended_at is not None and log.ended_at < oldest
            if not old and self._bytes <= self._limits.total_bytes_max:
                return
            self._ended.popleft()
            self._logs.pop(log.key, None)
            self._bytes -= log.bytes
            self._forget(log)

    def _forget(self, log: Log) -> None:
        """Take a log out of its thread's; of a thread without logs only the place is kept."""
        self._threads[log.thread_id].forget(log)
        self._drop_unused(log.thread_id)

    def _drop_unused(self, thread_id: str) -> None:
        thread = self._threads.get(thread_id)
        if thread is None or not thread.unused:
            return
        del self._threads[thread_id]
        self._places[thread_id] = thread.forgotten
        if len(self._places) > PLACES_MAX:
            _, place = self._places.popitem(last=False)
            self._unknown = max(self._unknown, place, key=lambda cursor: cursor.epoch)


def _wake(log: Log) -> None:
    log.waking = False
    _resolve(log.waiters)


def _resolve(waiters: Waiters) -> None:
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
