"""Copies of the logs that others write, for as long as somebody here reads them.

Redis tells by a hint that there is something new, and it is fetched into the copy: all hinted logs in one
batch, however many readers each of them has. A slow poll finds what was not told.
"""

import asyncio
import time
from typing import Any

from .broker import BEGINNING, Cursor
from .logs import Logs
from .redis_copies import Copy, Row
from .redis_link import Away, RedisLink
from .redis_scripts import PLACES_SECONDS, THREAD

POLL_SECONDS = 2.0  # of what is followed, for hints that were lost
IDLE_SECONDS = 60.0  # after which what nobody reads is followed no more
FETCH_LOGS = 64  # in one batch


class Follower:
    """The copies, and the threads that are followed. For the event loop only, `open` apart."""

    def __init__(self, link: RedisLink, logs: Logs) -> None:
        self._link = link
        self._logs = logs
        self._copies: dict[str, Copy] = {}
        self._threads: dict[str, float] = {}  # whose logs are all known here -> when asked for
        self._heard: set[str] = set()  # threads whose hints are heard
        self._hinted: dict[str, None] = {}
        self._hinted_threads: dict[str, None] = {}
        self._rung = asyncio.Event()
        self._back_at = 0.0
        link.when_back(self._look_again)

    # ------------------------------------------------------------------------------------- logs

    def open(self, key: str, thread_id: str) -> Copy:
        """A copy of a log that exists, or will."""
        log = self._logs.open(key, thread_id, copy=True)
        copy = self._copies.get(key)
        if copy is None or copy.log is not log:
            copy = Copy(log)
            if log.copy:
                self._copies[key] = copy
        return copy

    def get(self, key: str) -> Copy | None:
        return self._copies.get(key)

    async def load(self, copy: Copy) -> Copy:
        """Have what there is of a log, and hear of what comes. Redis may be away: then it comes later.

        It may be another copy: where the log was begun anew.
        """
        copy.read_at = time.monotonic()
        if copy.loaded or not copy.log.copy:
            return copy
        await self._hear(copy.log.thread_id)
        async with copy.loading:
            while copy.log.copy and not copy.loaded:
                try:
                    await self._fetch([copy])
                except Away:
                    self._hint(copy.log.key)
                    break
                copy = self._copies.get(copy.log.key, copy)
        return copy

    def take(self, key: str) -> Copy | None:
        """This process writes the log from here on."""
        copy = self._copies.pop(key, None)
        if copy is not None:
            copy.log.copy = False
        return copy

    def awaited(self, seconds: float) -> list[str]:
        """The logs that somebody reads here, that have not ended, and nothing came for some seconds.

        None while Redis is away, and for as long after it: those who write are to be heard first.
        """
        before = time.monotonic() - seconds
        if self._link.away or self._back_at > before:
            return []
        return [
            key
            for key, copy in list(self._copies.items())
            if copy.news_at < before and copy.log.ended_at is None and (copy.read or copy.read_at > before)
        ]

    # ------------------------------------------------------------------------------------- threads

    async def thread(self, thread_id: str) -> bool:
        """Know the logs of a thread, and hear of those that begin; False while Redis is away."""
        known = thread_id in self._threads
        self._threads[thread_id] = time.monotonic()
        if known:
            return True
        try:
            await self._hear(thread_id)
            await self.rows(thread_id)
        except Away:
            self._threads.pop(thread_id, None)
            return False
        return True

    async def before(self, thread_id: str) -> None:
        """A log of this thread begins here: those who follow it here must know of the earlier ones first."""
        if thread_id in self._threads:
            await self.rows(thread_id)

    async def rows(self, thread_id: str) -> tuple[list[Row], Cursor]:
        """What Redis knows of the logs of a thread, and the place before all that begin from now on.

        The copies here are brought up to that. Raises Away.
        """
        keys = self._link.keys
        command = THREAD.call([*keys.thread(thread_id), keys.clock], keys.namespace, PLACES_SECONDS * 1000)
        while True:
            written = self._written(thread_id)
            (answer,) = await self._link.ask(command)
            if isinstance(answer, Exception):
                raise Away from answer
            if written <= self._written(thread_id):
                break  # else it may be older than what went here meanwhile
        known, forgotten, renewed, now, found = answer
        rows = [Row.of(*fields) for fields in found]
        place = Cursor.parse(forgotten.decode())
        if known or self._logs.forgotten(thread_id) is None:
            self._logs.learn(thread_id, place, Cursor.parse(renewed.decode()) if renewed else BEGINNING)
        if thread_id in self._threads:
            self._know(thread_id, rows, place if known else BEGINNING)
        return rows, Cursor(int(now) - 1, 0) if not known else place

    def _written(self, thread_id: str) -> set[int]:
        """The logs of a thread that this process writes, or wrote, and holds."""
        return {log.epoch for log in self._logs.of_thread(thread_id) if not log.copy}

    def _know(self, thread_id: str, rows: list[Row], gone: Cursor) -> None:
        """Have a log here for each that Redis has, and none of what is `gone` there, up to that place."""
        here = {log.epoch: log for log in self._logs.of_thread(thread_id)}
        for row in rows:
            if row.epoch in here:
                continue
            copy = self.open(row.key, thread_id)
            if copy.log.epoch not in (0, row.epoch):
                if not copy.log.copy:
                    continue  # written here, and not yet known there
                copy = self._renew(copy)
            copy.closed_there = row.closed
            self._logs.begin(copy.log, row.epoch)
            if self._logs.followed(thread_id):
                self._hint(row.key)
        there = {row.epoch for row in rows}
        for epoch, log in here.items():
            stub = self._copies.get(log.key)
            if stub is None or epoch in there:
                continue
            unused = not stub.loaded and not stub.read
            if unused or (epoch <= gone.epoch and stub.log.ended_at is None and self._silent(stub)):
                self._drop(stub)

    def _silent(self, copy: Copy) -> bool:
        """Whether nothing comes of it though it could: else its writer may be filling it again."""
        before = time.monotonic() - POLL_SECONDS
        return copy.news_at < before and self._back_at < before

    # ------------------------------------------------------------------------------------- hints

    async def _hear(self, thread_id: str) -> None:
        self._heard.add(thread_id)
        await self._link.hear(self._link.keys.thread(thread_id)[0], lambda key: self._told(thread_id, key))

    def _told(self, thread_id: str, key: str) -> None:
        if key in self._copies:
            self._hint(key)
        elif thread_id in self._threads and self._logs.get(key) is None:
            self._hinted_threads[thread_id] = None
            self._rung.set()

    def _hint(self, key: str) -> None:
        self._hinted[key] = None
        self._rung.set()

    def _look_again(self) -> None:
        """Hints may have been missed."""
        self._back_at = time.monotonic()
        self._hinted.update((key, None) for key, copy in list(self._copies.items()) if copy.live)
        self._hinted_threads.update((thread_id, None) for thread_id in self._threads)
        self._rung.set()

    # ------------------------------------------------------------------------------------- fetching

    async def work(self) -> None:
        """For ever: fetch what is hinted."""
        while True:
            await self._rung.wait()
            self._rung.clear()
            while self._hinted or self._hinted_threads:
                await self._link.up()
                await self._turn()

    async def _turn(self) -> None:
        keys = list(self._hinted)[:FETCH_LOGS]
        for key in keys:
            del self._hinted[key]
        threads, self._hinted_threads = self._hinted_threads, {}
        copies = [copy for key in keys if (copy := self._copies.get(key)) is not None]
        try:
            more = await self._fetch(copies) if copies else []
            for thread_id in threads:
                if thread_id in self._threads:
                    await self.rows(thread_id)
        except Away:  # back, everything is looked at again
            self._hinted.update((key, None) for key in keys)
            self._hinted_threads.update(threads)
            return
        for copy, goes_on in zip(copies, more, strict=True):
            if goes_on:
                self._hint(copy.log.key)

    async def _fetch(self, copies: list[Copy]) -> list[bool]:
        """Fetch what is new of some logs; whether there is more of each. Raises Away."""
        answers = await self._link.ask(*(copy.command(self._link.keys) for copy in copies))
        found = []
        for copy, answer in zip(copies, answers, strict=True):
            if isinstance(answer, Exception):
                raise Away from answer
            if answer:
                await self._look_up(copy, answer[0], answer[3])
            found.append(self._add(copy, answer))
        return found

    async def _look_up(self, copy: Copy, epoch: bytes, entries: list[Any]) -> None:
        """Kinds that are written down in entries which this process has not read."""
        places = list(copy.unknown(entries))
        if not places:
            return
        stream = self._link.keys.log(copy.log.key)[0]
        ids = [b"%b-%d" % (epoch, place) for place in places]
        answers = await self._link.ask(*(("XRANGE", stream, id_, id_) for id_ in ids))
        for place, answer in zip(places, answers, strict=True):
            if not isinstance(answer, Exception) and answer:
                copy.kinds.learn(place, answer[0][1])

    def _add(self, copy: Copy, answer: list[Any]) -> bool:
        """Bring a copy up to what was found; whether there is more."""
        if not copy.log.copy or copy.log.expired:
            return False
        if not answer:
            copy.loaded = True
            if copy.closed_there:  # nobody fills it again
                self._drop(copy)
            return False
        if copy.log.epoch not in (0, int(answer[0])):
            copy = self._renew(copy)  # and the answer is from its beginning on
        return copy.add(self._logs, answer)

    def _renew(self, copy: Copy) -> Copy:
        """The log was lost and begun anew."""
        log = self._logs.replace(copy.log)
        copy = self._copies[log.key] = Copy(log, read_at=copy.read_at)
        return copy

    # ------------------------------------------------------------------------------------- upkeep

    async def upkeep(self) -> None:
        """For ever: look for what was not told, and let go of what nobody reads."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.forget_idle(IDLE_SECONDS)
            if not self._link.away:
                wanted = [key for key, copy in list(self._copies.items()) if self._wanted(copy)]
                self._hinted.update(dict.fromkeys(wanted))
                for thread_id in self._threads:
                    if self._logs.followed(thread_id):
                        self._hinted_threads[thread_id] = None
                self._rung.set()

    def _wanted(self, copy: Copy) -> bool:
        return copy.live and (copy.read or copy.read_at > time.monotonic() - 2 * POLL_SECONDS)

    async def forget_idle(self, seconds: float) -> None:
        """Let go of what nobody has read for some seconds."""
        before = time.monotonic() - seconds
        for copy in list(self._copies.values()):
            if copy.log.expired or (copy.read_at < before and not copy.read):
                self._drop(copy)
        for thread_id, asked_at in list(self._threads.items()):
            if asked_at < before and not self._logs.followed(thread_id):
                del self._threads[thread_id]
        for thread_id in self._hinted_threads:
            self._threads.setdefault(thread_id, time.monotonic())
        used = {copy.log.thread_id for copy in self._copies.values()} | self._threads.keys()
        for thread_id in self._heard - used:
            self._heard.discard(thread_id)
            await self._link.leave(self._link.keys.thread(thread_id)[0])

    def _drop(self, copy: Copy) -> None:
        """Hold a copy no more: who reads it, or follows its thread, asks Redis anew which logs there are."""
        if self._copies.get(copy.log.key) is copy:
            del self._copies[copy.log.key]
        self._logs.lose(copy.log)
        self._threads.pop(copy.log.thread_id, None)
        if self._logs.followed(copy.log.thread_id):
            self._hinted_threads[copy.log.thread_id] = None
            self._rung.set()
