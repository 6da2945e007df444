"""Logs that other processes write: what Redis knows of one, and what is copied here."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .log import Log
from .logs import Logs
from .redis_entries import Kinds
from .redis_scripts import FETCH, Command, Keys

FETCH_ENTRIES, FETCH_BYTES = 1024, 256 * 1024


@dataclass(slots=True)
class Row:
    """What Redis knows of a log of a thread."""

    key: str
    epoch: int
    next: int
    closed: bool

    @classmethod
    def of(cls, key: bytes, epoch: bytes, next_: bytes, closed: bytes) -> "Row":
        return cls(key.decode(), int(epoch), int(next_), bool(closed))


@dataclass(slots=True, eq=False)
class Copy:
    """A copy, and how far it is."""

    log: Log
    kinds: Kinds = field(default_factory=Kinds)
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    loaded: bool = False  # whether all that there was has been fetched since it is followed
    closed_there: bool = False  # whether it is known to have ended where it comes from
    read_at: float = field(default_factory=time.monotonic)
    news_at: float = field(default_factory=time.monotonic)

    @property
    def read(self) -> bool:
        """Whether somebody waits here for what comes."""
        return bool(self.log.waiters or self.log.waiting_for_end)

    @property
    def live(self) -> bool:
        """Whether what is written must be fetched."""
        return self.log.ended_at is None and (self.loaded or self.read)

    def command(self, keys: Keys) -> Command:
        """The question what is new."""
        tail = self.log.tail()
        return FETCH.call(keys.log(self.log.key), tail.epoch, tail.offset + 1, FETCH_ENTRIES, FETCH_BYTES)

    def unknown(self, entries: Iterable[Any]) -> set[int]:
        """The offsets of entries which have a kind beside them that is needed for these."""
        found = set()
        for entry_id, fields in entries:
            self.kinds.learn(_offset(entry_id), fields)
            if (place := self.kinds.unknown(fields)) is not None:
                found.add(place)
        return found

    def add(self, logs: Logs, answer: list[Any]) -> bool:
        """Add what was found, of this epoch; whether there is more."""
        log, next_, closed = self.log, int(answer[1]), bool(answer[2])
        logs.begin(log, int(answer[0]))
        at = log.tail().offset + 1
        for entry_id, fields in answer[3]:
            offset = _offset(entry_id)
            if offset < at:
                continue
            if offset > at:
                logs.skip(log, offset)
            at = offset + 1
            if self.kinds.unknown(fields) is not None:  # it was trimmed away while it was looked up
                logs.skip(log, at)
                continue
            entry = self.kinds.entry(offset, fields)
            if closed and at == next_:
                logs.close(log, entry)
            else:
                logs.add(log, entry)
            self.news_at = time.monotonic()
        if not answer[3] and at < next_:
            logs.skip(log, next_)  # nothing is left of it
            at = next_
        self.loaded = self.loaded or at >= next_
        return at < next_


def _offset(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[2])
