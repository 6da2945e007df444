"""Signals to all processes, by way of Redis. A ring that is lost while Redis is away is a poll later."""

import asyncio
from uuid import uuid4

from .redis_link import Away, RedisLink
from .signals import LocalSignals

LOCAL = frozenset({"drain"})  # what only this process means


class RedisSignals:
    """Rings here at once and in the other processes by a message. `work` must run on the link's loop."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._id = uuid4().hex
        self._here = LocalSignals()
        self._names: dict[str, None] = {}  # still to be told; one ring of a name is as good as many
        self._rung = asyncio.Event()

    def notify(self, name: str) -> None:
        self._here.notify(name)
        if name not in LOCAL and not self._link.away:
            self._names[name] = None
            self._link.loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, name: str, seconds: float) -> None:
        await self._here.wait(name, seconds)

    async def work(self) -> None:
        """For ever: tell the others, and hear them."""
        await self._link.hear(self._link.keys.signals, self._heard)
        while True:
            await self._rung.wait()
            self._rung.clear()
            names, self._names = self._names, {}
            for name in names:
                try:
                    await self._link.publish(self._link.keys.signals, f"{self._id} {name}")
                except Away:
                    break

    def _heard(self, message: str) -> None:
        sender, _, name = message.partition(" ")
        if sender != self._id:
            self._here.notify(name)
