"""Logs in the memory of one process, bounded by entries, bytes and age."""

from .broker import END, Batch, Cursor, Entry
from .log import Limits, Log
from .logs import Logs


class MemoryBroker:
    """The logs of one process. Create it on the event loop that reads; append from any thread."""

    def __init__(self, limits: Limits) -> None:
        self._logs = Logs(limits)

    def open(self, run_id: str, thread_id: str) -> None:
        self._logs.open(run_id, thread_id)

    async def begin(self, run_id: str, thread_id: str, attempt: int) -> None:
        self.open(run_id, thread_id)

    def append(self, run_id: str, entry: Entry) -> None:
        log = self._logs.get(run_id)
        if log is not None:
            if not log.epoch:
                self._logs.begin(log)
            self._logs.add(log, entry)

    async def end(self, run_id: str, data: bytes) -> None:
        log = self._logs.get(run_id)
        if log is not None:
            if not log.epoch:
                self._logs.begin(log)
            self._logs.close(log, Entry(END, data))

    async def note(self, thread_id: str, entry: Entry) -> None:
        log = Log("", thread_id)
        self._logs.begin(log)
        self._logs.close(log, entry)

    async def thread_of(self, run_id: str) -> str | None:
        log = self._logs.get(run_id)
        return None if log is None else log.thread_id

    async def tail(self, run_id: str) -> Cursor | None:
        log = self._logs.get(run_id)
        return None if log is None else log.tail()

    async def tail_of_thread(self, thread_id: str) -> Cursor:
        return self._logs.tail_of_thread(thread_id)

    async def read(self, run_id: str, after: Cursor, seconds: float) -> Batch | None:
        log = self._logs.get(run_id)
        return None if log is None else await self._logs.read(log, after, self._logs.loop.time() + seconds)

    async def follow(self, thread_id: str, after: Cursor, seconds: float) -> Batch:
        return await self._logs.follow(thread_id, after, self._logs.loop.time() + seconds)

    async def ended(self, run_id: str, seconds: float) -> Entry | None:
        log = self._logs.get(run_id)
        return None if log is None else await self._logs.ended(log, seconds)

    def cut(self) -> None:
        self._logs.cut()

    def expire(self) -> None:
        self._logs.expire()

    def held(self) -> tuple[int, int]:
        return self._logs.held()
