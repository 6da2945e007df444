"""The way to Redis: commands with a deadline, one connection that hears hints, coming back after a cut."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError

from .redis_scripts import SCRIPTS, Command, Keys

_log = structlog.get_logger(__name__)
_FAILURES = (RedisError, OSError, TimeoutError, RuntimeError)  # the last is uvloop's, of a closed transport
_CUT = (*_FAILURES, AttributeError)  # redis-py (8.1), when another task finds the connection cut meanwhile

TIMEOUT_SECONDS = 5.0  # for an answer: a connection that is silent for longer is dead
QUIET_SECONDS = 2.0  # after which the connection that hears hints is asked whether it lives
CONNECTIONS_MAX = 16
BACKOFF_SECONDS, BACKOFF_SECONDS_MAX = 0.05, 2.0

Hear = Callable[[str], None]


class Away(Exception):
    """Redis does not answer."""


class RedisLink:
    """One a process. Create it on the event loop that serves; `work` must run there for hints to be heard.

    `uri` is `redis://` or `rediss://` with user, password and database number.
    """

    def __init__(self, uri: str, namespace: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.loop = asyncio.get_running_loop()
        self.keys = Keys(namespace)
        self.timeout_seconds = timeout_seconds
        self._client = self._connect(uri, Retry(NoBackoff(), 1))  # a connection may have been cut while idle
        self._hearing = self._connect(uri, Retry(NoBackoff(), 0))  # a cut must be known: hints were missed
        self._turns = asyncio.Semaphore(CONNECTIONS_MAX)  # redis-py would fail where one has to wait
        self._up = asyncio.Event()
        self._up.set()
        self._away_since: float | None = None
        self._channels: dict[str, Hear] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pubsub: PubSub | None = None
        self._listening: asyncio.Task[None] | None = None
        self._when_back: list[Callable[[], None]] = []

    def _connect(self, uri: str, retry: Retry) -> "Redis":
        seconds = self.timeout_seconds
        return Redis.from_url(
            uri,
            protocol=2,
            retry=retry,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
        )

    @property
    def away_seconds(self) -> float:
        """For how long Redis has not answered; 0 while it does."""
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    @property
    def away(self) -> bool:
        return self._away_since is not None

    async def up(self) -> None:
        """Wait until Redis answers."""
        await self._up.wait()

    def when_back(self, call: Callable[[], None]) -> None:
        """Call this when Redis answers again: hints were missed, and it may have forgotten everything."""
        self._when_back.append(call)

    async def ask(self, *commands: Command, seconds: float | None = None) -> list[Any]:
        """Their answers, or what went wrong with one of them. Raises Away, at once if that is known.

        Who cannot wait for long asks for an answer within `seconds`: that it is late says nothing yet.
        """
        if self.away:
            raise Away
        try:
            async with asyncio.timeout(seconds), self._turns:
                if self.away:  # since it waited for its turn
                    raise Away
                async with asyncio.timeout(2 * self.timeout_seconds):
                    answers = await self._execute(commands)
                    if any(isinstance(answer, NoScriptError) for answer in answers):
                        await self._load()
                        answers = await self._execute(commands)
        except _FAILURES as failure:
            if seconds is None or not isinstance(failure, TimeoutError):
                self._lose(failure)
            raise Away from failure
        _heed_cancel()
        for answer in answers:
            if isinstance(answer, Disconnected | ReadOnlyError | OSError | TimeoutError):
                self._lose(answer)
                raise Away from answer
        return answers

    async def _execute(self, commands: tuple[Command, ...]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return await pipe.execute(raise_on_error=False)

    async def _load(self) -> None:
        for script in SCRIPTS:
            await self._client.script_load(script.text)

    def _lose(self, failure: BaseException) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._up.clear()
            _log.warning("Redis does not answer; runs go on", error=str(failure) or type(failure).__name__)
        if self._listening is not None:
            self._listening.cancel()

    def _back(self) -> None:
        if self._away_since is not None:
            _log.info("Redis answers again", seconds=round(self.away_seconds, 1))
        self._away_since = None
        self._up.set()
        for call in self._when_back:
            call()

    # ------------------------------------------------------------------------------------- hints

    async def hear(self, channel: str, call: Hear) -> None:
        """Call this with each message of a channel, from when this returns, or Redis is back."""
        confirmed = self._confirmed.get(channel)
        self._channels[channel] = call
        if confirmed is None:
            confirmed = self._confirmed[channel] = asyncio.Event()
            if self._pubsub is not None and self._up.is_set():
                try:
                    await self._pubsub.subscribe(channel)
                except _CUT as failure:
                    self._lose(failure)
        if not self.away:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.timeout_seconds):
                    await confirmed.wait()

    async def leave(self, channel: str) -> None:
        """Hear no more of a channel."""
        self._channels.pop(channel, None)
        self._confirmed.pop(channel, None)
        if self._pubsub is not None and not self.away:
            try:
                await self._pubsub.unsubscribe(channel)
            except _CUT as failure:
                self._lose(failure)

    async def work(self) -> None:
        """For ever: hear hints, and come back after a cut."""
        wait = BACKOFF_SECONDS
        while True:
            began = time.monotonic()
            self._listening = asyncio.ensure_future(self._listen())
            try:
                await asyncio.wait([self._listening])
            finally:
                if self._listening.cancel():
                    await asyncio.wait([self._listening])
            if not self._listening.cancelled() and (failure := self._listening.exception()) is not None:
                if not isinstance(failure, _CUT):
                    raise failure
                self._lose(failure)
            wait = BACKOFF_SECONDS if time.monotonic() - began > BACKOFF_SECONDS_MAX else 2 * wait
            wait = min(wait, BACKOFF_SECONDS_MAX)
            await asyncio.sleep(wait * random.uniform(0.5, 1))

    async def _listen(self) -> None:
        """Until the connection is cut. A reconnect begins with every channel."""
        async with self._hearing.pubsub() as pubsub:
            for confirmed in self._confirmed.values():
                confirmed.clear()
            await pubsub.subscribe(self.keys.clock, *self._channels)  # one that never speaks: never none
            await self._client.ping()
            _heed_cancel()
            self._pubsub = pubsub
            missing = [channel for channel in self._channels if channel.encode() not in pubsub.channels]
            if missing:
                await pubsub.subscribe(*missing)
            self._back()
            try:
                await self._heard(pubsub)
            finally:
                self._pubsub = None

    async def _heard(self, pubsub: PubSub) -> None:
        asked = False
        while True:
            message = await pubsub.get_message(timeout=self.timeout_seconds if asked else QUIET_SECONDS)
            _heed_cancel()
            if message is None:
                if asked:
                    raise TimeoutError("the connection for hints is silent")
                await pubsub.ping()
                asked = True
                continue
            asked = False
            if message["type"] not in ("message", "subscribe"):
                continue
            channel = message["channel"].decode()
            if message["type"] == "subscribe":
                if confirmed := self._confirmed.get(channel):
                    confirmed.set()
            elif call := self._channels.get(channel):
                call(message["data"].decode())

    async def publish(self, channel: str, message: str) -> None:
        """Tell all who hear a channel. Raises Away."""
        await self.ask(("PUBLISH", channel, message))

    async def close(self) -> None:
        """Let the connections go."""
        for client in (self._client, self._hearing):
            with suppress(*_FAILURES):
                await client.aclose()


def _heed_cancel() -> None:
    """redis-py (8.1) can lose a cancellation that comes while it connects; a task would never end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
