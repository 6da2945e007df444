"""The log on Redis without graphs around it: how fast one process writes, and another follows."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

from server.streaming.broker import BEGINNING, Entry
from server.streaming.log import Limits
from server.streaming.redis import RedisBroker
from server.streaming.redis_link import RedisLink

from .engines import Engines

LOGS = 50
AT_ONCE = 20  # appended before others get their turn, as a busy lane does
DATA = b'[{"content":"@17:123456789012345@","type":"AIMessageChunk","id":"lc_run--0b7e"}'
SHARED = b',{"langgraph_step":1,"langgraph_node":"node","thread_id":"' + b"x" * 600 + b'"}]'
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Entries a second that reached Redis, and another process' memory; microseconds of Redis for each."""

    written: float
    read: float
    redis: float


async def appends(engines: Engines, entries: int) -> Rates:
    each = entries // LOGS
    before = engines.cpu()["redis"]
    async with broker(engines) as writer:
        logs = [str(uuid4()) for _ in range(LOGS)]
        for log in logs:
            await writer.begin(log, str(uuid4()), 1)
        begun = time.monotonic()
        await asyncio.gather(*(write(writer, log, each) for log in logs))
        assert await writer.drain(PATIENCE_SECONDS)
        written = LOGS * each / (time.monotonic() - begun)
        redis = (engines.cpu()["redis"] - before) / (LOGS * each)
        async with broker(engines) as reader:
            begun = time.monotonic()
            await asyncio.gather(*(read(reader, log, each) for log in logs))
            followed = LOGS * each / (time.monotonic() - begun)
    return Rates(written, followed, redis * 1e6)


@asynccontextmanager
async def broker(engines: Engines) -> AsyncIterator[RedisBroker]:
    """What one process has of it."""
    link = RedisLink(engines.redis.uri, "bench")
    made = RedisBroker(link, Limits())
    tasks = [asyncio.ensure_future(work()) for work in (link.work, made.work)]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await link.close()


async def write(broker: RedisBroker, log: str, count: int) -> None:
    for number in range(count):
        broker.append(log, Entry("messages", DATA, SHARED))
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    await broker.end(log, b"{}")


async def read(broker: RedisBroker, log: str, count: int) -> None:
    cursor, seen = BEGINNING, 0
    while seen < count:
        batch = await broker.read(log, cursor, PATIENCE_SECONDS)
        assert batch is not None
        seen += sum(entry.event == "messages" for entry in batch.entries)
        cursor = batch.last if batch.entries else cursor
