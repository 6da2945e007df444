"""Brokers and signals of every engine; and processes' worth of them that meet in one Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from fix_redis import Redis

from server.streaming.broker import Broker
from server.streaming.log import Limits
from server.streaming.memory import MemoryBroker
from server.streaming.redis import RedisBroker
from server.streaming.redis_link import RedisLink
from server.streaming.redis_signals import RedisSignals
from server.streaming.signals import LocalSignals, Signals

ENGINES = ["memory", "redis"]


class Process:
    """What one process has of Redis: its link, broker and signals, at work on the event loop of the test."""

    def __init__(self, uri: str, namespace: str, *, away_seconds: float = 30, **limits: float) -> None:
        self.link = RedisLink(uri, namespace, timeout_seconds=2)
        self.broker = RedisBroker(self.link, Limits(**limits), away_seconds)  # type: ignore[arg-type]
        self.signals = RedisSignals(self.link)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> "Process":
        works: list[Callable[[], Coroutine[Any, Any, None]]]
        works = [self.link.work, self.broker.work, self.signals.work]
        self._tasks = [asyncio.ensure_future(work()) for work in works]
        return self

    async def stop(self) -> None:
        """As if it were killed: what it has not sent is lost."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        await self.link.close()


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start_process() -> AsyncIterator[Start]:
    """Begins a process with a Redis; all end with the test."""
    started: list[Process] = []

    async def start(redis: Redis | str, namespace: str = "test", **options: float) -> Process:
        uri = redis if isinstance(redis, str) else redis.uri
        started.append(await Process(uri, namespace, **options).start())
        return started[-1]

    yield start
    for process in started:
        await process.stop()


@pytest.fixture(params=ENGINES)
async def carried_by(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def any_broker(
    carried_by: str, request: pytest.FixtureRequest, start_process: Start
) -> Callable[..., Awaitable[Broker]]:
    """A broker of each engine, with some limits."""

    async def make(**limits: float) -> Broker:
        if carried_by == "memory":
            return MemoryBroker(Limits(**limits))  # type: ignore[arg-type]
        redis = request.getfixturevalue("redis")
        return (await start_process(redis, uuid4().hex, **limits)).broker

    return make


@pytest.fixture
async def any_signals(carried_by: str, request: pytest.FixtureRequest, start_process: Start) -> Signals:
    """Signals of each engine."""
    if carried_by == "memory":
        return LocalSignals()
    return (await start_process(request.getfixturevalue("redis"), uuid4().hex)).signals
