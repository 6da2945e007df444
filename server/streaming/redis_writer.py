"""Sends the logs that this process writes to Redis: what is new of all of them, in one batch after the other.

While a batch is under way more comes together for the next: an idle system sends a token at once, a busy one
many a time, without a timer. Redis says where it really is, and the writer sends from there: lost answers,
repeated batches and a Redis that came back empty are all healed by that one rule.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import structlog

from .broker import GONE, Cursor
from .log import Log
from .logs import Logs
from .redis_entries import Windows
from .redis_link import Away, RedisLink
from .redis_scripts import APPEND, BEGIN, PLACES_SECONDS, Command

_log = structlog.get_logger(__name__)

OPEN_SECONDS = 3600  # for how long Redis keeps a log that nobody renews: its writer died
RENEW_SECONDS = 60.0
TOUCH_SECONDS = 5.0  # between two looks whether Redis still has what was sent
BATCH_BYTES, BATCH_LOGS = 2**20, 256
PARCEL_ENTRIES, PARCEL_BYTES = 1024, 2**20  # of one log; shared tails count, but are sent once
WAIT_SECONDS = 1.0  # where Redis refuses what is sent, as when its memory is full


@dataclass(slots=True, eq=False)
class Writing:
    """A log that is written here, and how far it has been sent."""

    log: Log
    attempt: int
    windows: Windows
    sent: int = 0  # the offset of what is sent next
    known: bool = True  # whether Redis has the log, and this process as its writer
    told_end: bool = False
    marked: bool = False
    renewed_at: float = 0.0
    waiters: set["asyncio.Future[None]"] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        """Whether everything has been sent."""
        return self.known and self.sent > self.log.tail().offset and self.told_end == self.log.closed


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one batch has of a log: entries up to `until`, or the question who writes it."""

    writing: Writing
    command: Command
    until: int = 0
    closes: bool = False
    begins: bool = False
    size: int = 0


class Writer:
    """The logs that are written here. `mark` is for any thread, all else for the event loop."""

    def __init__(self, link: RedisLink, logs: Logs, writer_id: str) -> None:
        self._link = link
        self._logs = logs
        self._id = writer_id
        self._writing: dict[str, Writing] = {}
        self._marked: deque[Writing] = deque()
        self._rung = asyncio.Event()
        self._ringing = False
        self._refused = False
        link.when_back(self.touch)

    def get(self, key: str) -> Writing | None:
        return self._writing.get(key)

    def write(self, log: Log, attempt: int, sent: int, *, known: bool) -> None:
        """This process writes a log from here on; Redis has its first `sent` entries."""
        limits = self._logs.limits
        windows = Windows(limits.entries_max, limits.bytes_max)
        self._writing[log.key] = Writing(log, attempt, windows, sent, known)
        self.mark(self._writing[log.key])

    def mark(self, writing: Writing) -> None:
        """There is something new in a log."""
        if not writing.marked:
            writing.marked = writing.log.pending = True
            self._marked.append(writing)
            if not self._ringing:
                self._ringing = True
                self._logs.loop.call_soon_threadsafe(self._rung.set)

    def touch(self, *, ended: bool = True) -> None:
        """Look whether Redis still has the logs; let go of those that are held here no more."""
        for key, writing in list(self._writing.items()):
            if writing.log.expired and self._writing.get(key) is writing:
                del self._writing[key]
            elif ended or not writing.complete or not writing.log.closed:
                self.mark(writing)

    def begin_command(self, log: Log, attempt: int, epoch: int) -> Command:
        """The question who writes a log; it has begun at `epoch`, or 0: where Redis says."""
        keys = self._link.keys
        forgotten = self._logs.forgotten(log.thread_id) if epoch else None
        return BEGIN.call(
            [*keys.log(log.key), *keys.thread(log.thread_id), keys.clock],
            keys.namespace,
            log.key,
            log.thread_id,
            attempt,
            self._id,
            epoch,
            str(forgotten or ""),
            OPEN_SECONDS * 1000,
            PLACES_SECONDS * 1000,
        )

    def _begin_command(self, writing: Writing) -> Command:
        return self.begin_command(writing.log, writing.attempt, writing.log.epoch)

    async def sent(self, key: str, seconds: float) -> bool:
        """Whether all that was appended to a log reaches Redis within some seconds."""
        writing = self._writing.get(key)
        deadline = self._logs.loop.time() + seconds
        while writing is not None and not writing.complete:
            waiter = self._logs.loop.create_future()
            writing.waiters.add(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                return writing.complete
            finally:
                writing.waiters.discard(waiter)
        return writing is not None

    async def all_sent(self, seconds: float) -> bool:
        """Whether all that was appended to any log reaches Redis within some seconds."""
        deadline = self._logs.loop.time() + seconds
        left = [key for key, writing in self._writing.items() if not writing.complete]
        return all([await self.sent(key, deadline - self._logs.loop.time()) for key in left])

    async def work(self) -> None:
        """For ever: send what is new."""
        while True:
            await self._rung.wait()
            self._rung.clear()
            self._ringing = False
            while self._marked:
                await self._link.up()
                await self._send()

    async def _send(self) -> None:
        parcels: list[Parcel] = []
        size = 0
        while self._marked and size < BATCH_BYTES and len(parcels) < BATCH_LOGS:
            writing = self._marked.popleft()
            writing.marked = False  # before the log is looked at: what comes after that marks it again
            if not writing.log.expired and self._writing.get(writing.log.key) is writing:
                parcels.append(self._parcel(writing))
                size += parcels[-1].size
        if not parcels:
            return
        try:
            answers = await self._link.ask(*(parcel.command for parcel in parcels))
        except Away:
            answers = [Away()] * len(parcels)
        refused: Exception | None = None
        for parcel, answer in zip(parcels, answers, strict=True):
            if isinstance(answer, Exception):
                parcel.writing.windows.restart()
                refused = refused if isinstance(answer, Away) else answer
                self.mark(parcel.writing)
            else:
                self._apply(parcel, [_plain(part) for part in answer])
        if refused is not None:
            if not self._refused:
                _log.warning("Redis refuses what runs emit; it is sent again", error=str(refused))
            await asyncio.sleep(WAIT_SECONDS)
        self._refused = refused is not None

    def _parcel(self, writing: Writing) -> Parcel:
        if not writing.known:
            return Parcel(writing, self._begin_command(writing), begins=True)
        log, keys = writing.log, self._link.keys
        closed = log.closed  # before the entries are looked at: then the last of them is seen
        batch = log.slice(Cursor(log.epoch, writing.sent - 1), PARCEL_ENTRIES, PARCEL_BYTES)
        first = batch.first.offset
        until = first + len(batch.entries)
        closes = closed and until > log.tail().offset
        now = time.monotonic()
        renews = now - writing.renewed_at > RENEW_SECONDS and not closed
        writing.renewed_at = now if renews else writing.renewed_at
        fields = writing.windows.fields(first, batch.entries)
        keep = writing.windows.keep_from()
        end = "" if not closes else "gone" if log.last().event == GONE else "end"
        replay_ms = max(1, int(self._logs.limits.replay_seconds * 1000))
        command = APPEND.call(
            [*keys.log(log.key), *keys.thread(log.thread_id)],
            keys.namespace,
            log.key,
            self._id,
            log.epoch,
            first,
            int(batch.lost > 0 or first == log.entries.base),
            int(renews),
            "" if keep is None else keep,
            end,
            OPEN_SECONDS * 1000,
            replay_ms,
            replay_ms + PLACES_SECONDS * 1000,
            *fields,
        )
        size = sum(len(entry.data) for entry in batch.entries)
        return Parcel(writing, command, until, closes, size=size)

    def _apply(self, parcel: Parcel, answer: list[Any]) -> None:
        """Go on from where Redis is."""
        writing, status = parcel.writing, answer[0]
        if status == "fenced":
            self.leave(writing)
            return
        if parcel.begins or status == "at":
            at = int(answer[2]) if parcel.begins else int(answer[1])
            writing.known, writing.told_end = True, False
            writing.sent = min(at, writing.log.tail().offset + 1)
            writing.windows.restart()
        elif status == "unknown":
            writing.known = writing.told_end = False
        else:
            writing.sent, writing.told_end = parcel.until, parcel.closes
        if not writing.complete:
            self.mark(writing)
            return
        writing.log.pending = writing.marked
        for waiter in writing.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def leave(self, writing: Writing) -> None:
        """Another process goes on with the run: what this one appends is heard no more."""
        if self._writing.get(writing.log.key) is not writing:
            return
        del self._writing[writing.log.key]
        _log.warning("another process writes the log of this run now", run_id=writing.log.key)
        self._logs.replace(writing.log, agreed=writing.sent)


def _plain(part: Any) -> Any:
    return part.decode() if isinstance(part, bytes) else part
