"""The logs that one process holds, and those who wait in it: what every engine's readers read from."""

import asyncio
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from .broker import GONE, Batch, Cursor, Cut, Entry
from .log import Limits, Log, ThreadLog, Waiters

PLACES_MAX = 10_000  # quiet threads of which it is known what of them is gone


class Logs:
    """Logs by their keys and threads. Create it on the event loop that reads; write from any thread."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.unreachable = False  # whether those who write what is copied here are out of reach for long
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

    def get(self, key: str) -> Log | None:
        return self._logs.get(key)

    def open(self, key: str, thread_id: str, *, copy: bool = False) -> Log:
        """The log of this key; a new one if there is none."""
        with self._lock:
            found = self._logs.get(key)
            if found is None:
                found = self._logs[key] = Log(key, thread_id, copy=copy)
            return found

    def begin(self, log: Log, epoch: int = 0) -> None:
        """The log has its place among those of its thread from now on: at `epoch`, else after all others."""
        with self._lock:
            if log.epoch:
                return
            # A log that begins after another has a larger epoch: ids only ever grow.
            log.epoch = epoch or max(self._epoch + 1, time.time_ns() // 1_000_000)
            self._epoch = max(self._epoch, log.epoch)
            thread = self._thread(log.thread_id)
            thread.insert(log)
        if thread.waiters:
            self.loop.call_soon_threadsafe(_resolve, thread.waiters)

    def add(self, log: Log, entry: Entry, *, last: bool = False) -> bool:
        """Append to a log that has begun; False when it is closed."""
        grown = log.add(entry, self.limits, last=last)
        if grown is None:
            return False
        with self._lock:
            self._bytes += grown
            if self._bytes > self.limits.total_bytes_max:
                self._make_room(log)
        # The entry is in the log before the waiters are looked at, and a reader is among the waiters before
        # it looks at the log: one of the two always sees the other.
        if log.waiters and not log.waking:
            log.waking = True
            self.loop.call_soon_threadsafe(_wake, log)
        return True

    def close(self, log: Log, entry: Entry) -> bool:
        """Append the last entry of a log; False when it is closed."""
        if not self.add(log, entry, last=True):
            return False
        if entry.event == GONE:
            with self._lock:
                self._thread(log.thread_id).renew(log.tail())
        log.ended_at = time.monotonic()
        with self._lock:
            self._ended.append(log)
            self._expire()
        if log.waiting_for_end:
            self.loop.call_soon_threadsafe(_resolve, log.waiting_for_end)
        return True

    def skip(self, log: Log, offset: int) -> None:
        """The entries up to `offset` are gone where this copy comes from."""
        freed = log.skip(offset)
        with self._lock:
            self._bytes -= freed

    def replace(self, log: Log, agreed: int = 0) -> Log:
        """Another log of the same key is valid from now on; up to entry `agreed` the two are the same."""
        log.agreed = agreed
        self.drop(log)
        _wake(log)
        _resolve(log.waiting_for_end)
        return self.open(log.key, log.thread_id, copy=True)

    def lose(self, log: Log) -> None:
        """Hold a copy no more: whoever waits for more of it is to look again where it comes from."""
        log.agreed = sys.maxsize  # nothing that was read of it was wrong
        self.drop(log)
        _wake(log)
        _resolve(log.waiting_for_end)

    def drop(self, log: Log) -> None:
        """Hold a log no more, without saying that it is gone."""
        with self._lock:
            if self._logs.get(log.key) is log:
                del self._logs[log.key]
            if not log.expired:
                self._bytes -= log.bytes
            self._take_out(log)

    def _take_out(self, log: Log) -> None:
        """Of a copy that is held no more it is not known here whether it is gone."""
        log.expired = True
        thread = self._threads.get(log.thread_id)
        if thread is not None and log in thread.logs:
            thread.logs.remove(log)
            self._drop_unused(log.thread_id)

    def of_thread(self, thread_id: str) -> list[Log]:
        """The logs of a thread that are held here, the oldest first."""
        with self._lock:
            thread = self._threads.get(thread_id)
            return list(thread.logs) if thread else []

    def followed(self, thread_id: str) -> bool:
        """Whether somebody waits for what comes to a thread."""
        thread = self._threads.get(thread_id)
        return thread is not None and bool(thread.waiters or any(log.waiters for log in thread.logs))

    def learn(self, thread_id: str, forgotten: Cursor | None, renewed: Cursor) -> None:
        """What is known elsewhere of a thread: the last place that is gone, and where it began anew."""
        with self._lock:
            thread = self._threads.get(thread_id)
            if thread is not None:
                thread.forgotten = forgotten or thread.forgotten
                thread.renew(renewed)
            elif forgotten is not None:
                self._remember(thread_id, forgotten)

    def forgotten(self, thread_id: str) -> Cursor | None:
        """The last place of a thread that is gone; None when that is not known."""
        with self._lock:
            thread = self._threads.get(thread_id)
            return thread.forgotten if thread else self._places.get(thread_id)

    def _thread(self, thread_id: str) -> ThreadLog:
        found = self._threads.get(thread_id)
        if found is None:
            gone = self._places.pop(thread_id, self._unknown)
            found = self._threads[thread_id] = ThreadLog(gone)
        return found

    def tail_of_thread(self, thread_id: str) -> Cursor:
        with self._lock:
            thread = self._threads.get(thread_id)
            return thread.tail() if thread else self._places.get(thread_id, self._unknown)

    def at(self, thread_id: str, after: Cursor) -> Log | None:
        """The log of a thread in which is, or will be, what comes after a place; None before it begins."""
        with self._lock:
            thread = self._threads.get(thread_id)
            return None if thread is None or thread.lost(after) else thread.at(after)

    async def follow(self, thread_id: str, after: Cursor, deadline: float) -> Batch:
        """See `Broker.follow`."""
        while True:
            with self._following(thread_id) as (thread, waiter):
                with self._lock:
                    log, lost = thread.at(after), thread.lost(after)
                left = deadline - self.loop.time()
                if log is None and not lost and (self._cut or self.unreachable):
                    raise Cut
                if lost or (log is None and left <= 0):
                    return Batch([], Cursor(after.epoch, after.offset + 1), int(lost))
                if log is None:
                    await _first(waiter, left)
                    continue
            return await self.read(log, after, deadline)

    async def read(self, log: Log, after: Cursor, deadline: float) -> Batch:
        """What is in a log after a place, or what comes there: also when the log is forgotten meanwhile."""
        while True:
            waiter = self.loop.create_future()
            log.waiters.add(waiter)  # before the log is looked at, see add
            try:
                batch = log.slice(after)
                left = deadline - self.loop.time()
                if batch.entries or batch.lost or log.agreed is not None:
                    return batch
                if self._cut or (log.copy and self.unreachable):
                    raise Cut
                if left <= 0:
                    return batch
                await _first(waiter, left)
            finally:
                log.waiters.discard(waiter)

    @contextmanager
    def _following(self, thread_id: str) -> "Iterator[tuple[ThreadLog, asyncio.Future[None]]]":
        """The log of a thread, with a waiter in it, so that it stays."""
        waiter = self.loop.create_future()
        with self._lock:
            thread = self._thread(thread_id)
            thread.waiters.add(waiter)
        try:
            yield thread, waiter
        finally:
            with self._lock:
                thread.waiters.discard(waiter)
                self._drop_unused(thread_id)

    async def ended(self, log: Log, seconds: float) -> Entry | None:
        """The END entry, waiting for it; None when the time is over or another log is valid."""
        waiter = self.loop.create_future()
        log.waiting_for_end.add(waiter)
        try:
            if log.ended_at is None and not self._cuts(log):
                await _first(waiter, seconds)
        finally:
            log.waiting_for_end.discard(waiter)
        if log.ended_at is None and self._cuts(log):
            raise Cut
        return log.last() if log.ended_at is not None else None

    def _cuts(self, log: Log) -> bool:
        return self._cut or (log.copy and self.unreachable)

    def cut(self) -> None:
        self._cut = True
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        for log in list(self._logs.values()):
            _wake(log)
            _resolve(log.waiting_for_end)
        for thread in list(self._threads.values()):
            _resolve(thread.waiters)

    def expire(self) -> None:
        with self._lock:
            self._expire()

    def held(self) -> tuple[int, int]:
        return len(self._logs), self._bytes

    def _make_room(self, log: Log) -> None:
        """Too much in all: finished logs go first, then the oldest entries of the log that grows."""
        self._expire()
        if self._bytes > self.limits.total_bytes_max:
            self._bytes -= log.shrink()

    def _expire(self) -> None:
        oldest = time.monotonic() - self.limits.replay_seconds
        while self._ended:
            log = self._ended[0]
            old = log.ended_at is not None and log.ended_at < oldest
            waits = log.pending and not self.unreachable
            if (not old or waits) and self._bytes <= self.limits.total_bytes_max:
                return
            self._ended.popleft()
            if not log.expired:
                self._forget(log)

    def _forget(self, log: Log) -> None:
        """Take a log out of its thread's; of a thread without logs only the place is kept."""
        if self._logs.get(log.key) is log:
            del self._logs[log.key]
        self._bytes -= log.bytes
        thread = self._threads.get(log.thread_id)
        if log.copy:
            self._take_out(log)
        elif thread is not None:
            thread.forget(log)
            self._drop_unused(log.thread_id)

    def _drop_unused(self, thread_id: str) -> None:
        thread = self._threads.get(thread_id)
        if thread is not None and thread.unused:
            del self._threads[thread_id]
            self._remember(thread_id, thread.forgotten)

    def _remember(self, thread_id: str, place: Cursor) -> None:
        self._places[thread_id] = place
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
