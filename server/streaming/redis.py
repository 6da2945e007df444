"""Logs of many processes: each is written in one of them and goes through Redis or Valkey to its readers.

Every process reads from its own memory (`logs`). What it writes is there at once and is sent on from there
(`redis_writer`); of what others write it holds a copy while somebody here reads it (`redis_follower`). So a
reader beside the writer does without Redis, and a Redis that is away or comes back empty ends no run and
loses no token: the writer still has them.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar
from uuid import uuid4

from .broker import END, Batch, Cursor, Cut, Entry
from .log import Limits, Log
from .logs import Logs
from .redis_follower import Follower
from .redis_link import Away, RedisLink
from .redis_writer import TOUCH_SECONDS, Writer

AWAY_SECONDS = 30.0
BEGIN_SECONDS = 1.0  # that a run waits for Redis before it begins without
QUIET_SECONDS = 5.0
LOOK_SECONDS = 0.5

T = TypeVar("T")


class RedisBroker:
    """The logs of one process among many. Create it on the event loop that serves, where `work` must run.

    After Redis has been away for `away_seconds` readers of what other processes write are cut, so that they
    come back; those of what this one writes go on.
    """

    def __init__(self, link: RedisLink, limits: Limits, away_seconds: float = AWAY_SECONDS) -> None:
        self._link = link
        self._logs = Logs(limits)
        self._writer = Writer(link, self._logs, uuid4().hex)
        self._follower = Follower(link, self._logs)
        self._away_seconds = away_seconds
        self._beginning: dict[tuple[str, int], asyncio.Task[Log | None]] = {}

    async def work(self) -> None:
        """For ever: send what is written here, fetch what is read here."""
        async with asyncio.TaskGroup() as tasks:
            for work in (self._writer.work, self._follower.work, self._follower.upkeep, self._watch):
                tasks.create_task(work())

    async def _watch(self) -> None:
        """Tell readers when Redis is away for too long, and the writer to look after its logs."""
        touched = self._logs.loop.time()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            unreachable = self._link.away_seconds > self._away_seconds
            if unreachable != self._logs.unreachable:
                self._logs.unreachable = unreachable
                self._logs.wake()
            if self._logs.loop.time() - touched > TOUCH_SECONDS:
                touched = self._logs.loop.time()
                self._writer.touch(ended=False)

    # ------------------------------------------------------------------------------------- writing

    def open(self, run_id: str, thread_id: str) -> None:
        self._follower.open(run_id, thread_id)

    async def begin(self, run_id: str, thread_id: str, attempt: int) -> None:
        await self._here(self._begun(run_id, thread_id, attempt))

    async def _begun(self, run_id: str, thread_id: str, attempt: int) -> None:
        """Begin, or wait for whoever begins the same. That goes on though those who wait are cancelled."""
        key = run_id, attempt
        task = self._beginning.get(key)
        if task is None:
            task = self._beginning[key] = asyncio.ensure_future(self._begin(run_id, thread_id, attempt))
            task.add_done_callback(lambda _: self._beginning.pop(key))
        await asyncio.shield(task)

    async def _begin(self, run_id: str, thread_id: str, attempt: int) -> Log | None:
        """The log, if this attempt may write it."""
        writing = self._writer.get(run_id)
        if writing is not None and writing.attempt < attempt - 1:
            self._writer.leave(writing)  # others went on with it meanwhile, which nobody said here
            writing = None
        log = self._logs.open(run_id, thread_id, copy=True)
        mine = writing is not None and writing.log is log
        try:
            command = self._writer.begin_command(log, attempt, log.epoch if mine else 0)
            (answer,) = await self._link.ask(command, seconds=BEGIN_SECONDS)
            if isinstance(answer, Exception):
                raise Away from answer
            if answer[0] == b"fenced":
                return None
            epoch, sent = int(answer[1]), int(answer[2])
            await self._follower.before(thread_id)
        except Away:
            return self._begin_alone(log, attempt, mine)
        if not mine and sent:
            log = await self._copied(log)
            if log.epoch != epoch or log.tail().offset + 1 < sent:
                return self._begin_alone(log, attempt, mine)
        elif log.epoch not in (0, epoch):
            log = self._logs.replace(log)
        self._follower.take(run_id)
        log.copy = False
        self._logs.begin(log, epoch)
        self._writer.write(log, attempt, sent, known=True)
        return log

    def _begin_alone(self, log: Log, attempt: int, mine: bool) -> Log:
        """Redis is away. What an earlier attempt wrote elsewhere is not known: this is another log."""
        if log.epoch and not mine:
            log = self._logs.replace(log)
        self._follower.take(log.key)
        log.copy = False
        self._logs.begin(log)
        self._writer.write(log, attempt, 0, known=False)
        return log

    async def _copied(self, log: Log) -> Log:
        """The log with what an earlier attempt wrote, if that can be had."""
        copy = self._follower.open(log.key, log.thread_id)
        copy.loaded = False
        return (await self._follower.load(copy)).log

    def append(self, run_id: str, entry: Entry) -> None:
        writing = self._writer.get(run_id)
        if writing is not None and self._logs.add(writing.log, entry):
            self._writer.mark(writing)

    async def end(self, run_id: str, data: bytes) -> None:
        self._close(run_id, Entry(END, data))

    def _close(self, key: str, entry: Entry) -> None:
        writing = self._writer.get(key)
        if writing is not None:
            writing.log.pending = True  # before it has ended: it must not be too old before it was sent
            self._logs.close(writing.log, entry)
            self._writer.mark(writing)

    async def note(self, thread_id: str, entry: Entry) -> None:
        key = f"note-{uuid4()}"
        await self.begin(key, thread_id, 1)
        self._close(key, entry)

    async def flushed(self, run_id: str, seconds: float) -> bool:
        """Whether all that was appended to a log of this process reaches Redis within some seconds."""
        return await self._here(self._writer.sent(run_id, seconds))

    async def drain(self, seconds: float) -> bool:
        """Before this process ends: whether all that it wrote reaches Redis within some seconds."""
        return await self._here(self._writer.all_sent(seconds))

    # ------------------------------------------------------------------------------------- reading

    async def thread_of(self, run_id: str) -> str | None:
        log = self._logs.get(run_id)
        if log is not None:
            return log.thread_id
        try:
            found = await self._here(self._head(run_id))
        except Away:
            return None
        return None if found is None else found[0]

    async def tail(self, run_id: str) -> Cursor | None:
        log = self._logs.get(run_id)
        if log is not None and not log.copy:
            return log.tail()
        try:
            found = await self._here(self._head(run_id))
        except Away:
            found = None
        if found is not None:
            return found[1]
        return None if log is None else log.tail()

    async def _head(self, run_id: str) -> tuple[str, Cursor] | None:
        """The thread of a log and its tail, as Redis knows them. Raises Away."""
        (found,) = await self._link.ask(("HMGET", self._link.keys.head(run_id), "thread", "epoch", "next"))
        if isinstance(found, Exception):
            raise Away from found
        thread_id, epoch, next_ = found
        return None if thread_id is None else (thread_id.decode(), Cursor(int(epoch), int(next_) - 1))

    async def tail_of_thread(self, thread_id: str) -> Cursor:
        return await self._here(self._tail_of_thread(thread_id))

    async def _tail_of_thread(self, thread_id: str) -> Cursor:
        try:
            rows, place = await self._follower.rows(thread_id)
        except Away:
            return self._logs.tail_of_thread(thread_id)
        # What is written here is ahead of what Redis knows.
        logs = {row.epoch: (row.closed, Cursor(row.epoch, row.next - 1)) for row in rows}
        for log in self._logs.of_thread(thread_id):
            if not log.copy:
                logs[log.epoch] = log.closed, log.tail()
        for _, (closed, tail) in sorted(logs.items()):
            place = tail
            if not closed:
                break
        return place

    async def read(self, run_id: str, after: Cursor, seconds: float) -> Batch | None:
        deadline = self._logs.loop.time() + seconds
        log = await self._readable(run_id)
        return None if log is None else await self._logs.read(log, after, deadline)

    async def ended(self, run_id: str, seconds: float) -> Entry | None:
        deadline = self._logs.loop.time() + seconds
        while True:
            log = await self._readable(run_id)
            found = None if log is None else await self._logs.ended(log, deadline - self._logs.loop.time())
            if log is None or found is not None or log.agreed is None:
                return found

    async def _readable(self, run_id: str) -> Log | None:
        """The log, which is written here or copied. Raises Cut where it is not known whether it exists."""
        log = self._logs.get(run_id)
        if log is not None and not log.copy:
            return log
        copy = self._follower.get(run_id)
        if copy is None or copy.log is not log:
            try:
                thread_id = log.thread_id if log is not None else await self._thread_in_redis(run_id)
            except Away:
                raise Cut from None
            if thread_id is None:
                return None
            copy = self._follower.open(run_id, thread_id)
        return (await self._follower.load(copy)).log

    async def _thread_in_redis(self, run_id: str) -> str | None:
        found = await self._head(run_id)
        return None if found is None else found[0]

    async def follow(self, thread_id: str, after: Cursor, seconds: float) -> Batch:
        """Also past a log that goes before its end has come here."""
        deadline = self._logs.loop.time() + seconds
        while True:
            batch = await self._followed(thread_id, after, deadline)
            if batch.entries or batch.lost or self._logs.loop.time() >= deadline:
                return batch

    async def _followed(self, thread_id: str, after: Cursor, deadline: float) -> Batch:
        while not await self._follower.thread(thread_id):
            if self._logs.unreachable:
                raise Cut
            if self._logs.loop.time() >= deadline:
                return Batch([], Cursor(after.epoch, after.offset + 1))
            with suppress(TimeoutError):  # not to the deadline: they are cut when it takes too long
                async with asyncio.timeout_at(min(deadline, self._logs.loop.time() + LOOK_SECONDS)):
                    await self._link.up()
        log = self._logs.at(thread_id, after)
        while log is not None and log.copy:
            await self._follower.load(self._follower.open(log.key, thread_id))
            reached, log = log, self._logs.at(thread_id, after)
            if log is reached:
                break
        return await self._logs.follow(thread_id, after, deadline)

    def awaited(self, seconds: float = QUIET_SECONDS) -> list[str]:
        """Runs of other processes that somebody waits for here, and nothing came of them for some seconds.

        Their writer may be dead: whoever finds that such a run is over closes its log.
        """
        return self._follower.awaited(seconds)

    # ------------------------------------------------------------------------------------- upkeep

    def expire(self) -> None:
        self._logs.expire()

    def held(self) -> tuple[int, int]:
        return self._logs.held()

    def cut(self) -> None:
        self._logs.cut()

    async def _here(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this on the event loop that the connections belong to: graphs run on others."""
        if asyncio.get_running_loop() is self._logs.loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._logs.loop))
