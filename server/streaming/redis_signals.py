"""Signals to all processes, by way of Redis. A ring that is lost while Redis is away is a poll later."""

import asyncio
from collections import Counter
from contextlib import suppress
from uuid import uuid4

from .redis_link import Away, RedisLink
from .redis_scripts import OFFER, READY_SECONDS, Command
from .signals import LocalSignals

LOCAL = frozenset({"drain", "runs"})  # what a process says to itself; to others it offers runs


class RedisSignals:
    """Rings here at once and in the other processes by a message. `work` must run on the link's loop.

    What is offered goes to one process, which hears it on a channel of its own: of those that said how busy
    they are the least busy one that listens.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._id = uuid4().hex
        self._here = LocalSignals()
        # Still to be told. One ring of a name is as good as many; of what is offered each counts.
        self._names: dict[str, None] = {}
        self._loads: dict[str, int | None] = {}
        self._offers: Counter[str] = Counter()
        self._offered: Counter[str] = Counter()  # to this process
        self._rung = asyncio.Event()

    def notify(self, name: str) -> None:
        self._here.notify(name)
        if name not in LOCAL and not self._link.away:
            self._names[name] = None
            self._link.loop.call_soon_threadsafe(self._rung.set)

    def offer(self, name: str, count: int = 1) -> None:
        if self._link.away:
            self._here.notify(name)
        else:
            self._link.loop.call_soon_threadsafe(self._to_offer, name, count)

    def _to_offer(self, name: str, count: int) -> None:
        self._offers[name] += count
        self._rung.set()

    def busy(self, name: str, load: int | None) -> None:
        self._loads[name] = load
        self._rung.set()

    async def wait(self, name: str, seconds: float) -> int:
        await self._here.wait(name, seconds)
        return self._offered.pop(name, 0)

    async def work(self) -> None:
        """For ever: tell the others, and hear them."""
        await self._link.hear(self._link.keys.signals, self._heard)
        await self._link.hear(self._link.keys.signals_to(self._id), self._heard_alone)
        while True:
            await self._rung.wait()
            self._rung.clear()
            if commands := [*self._ready(), *self._told()]:
                with suppress(Away):
                    await self._link.ask(*commands)

    def _ready(self) -> list[Command]:
        """Before what is offered: that may be for us."""
        commands: list[Command] = []
        loads, self._loads = self._loads, {}
        for name, load in loads.items():
            ready = self._link.keys.ready(name)
            if load is None:
                commands.append(("ZREM", ready, self._id))
            else:
                commands += [("ZADD", ready, load, self._id), ("EXPIRE", ready, READY_SECONDS)]
        return commands

    def _told(self) -> list[Command]:
        keys = self._link.keys
        names, self._names = self._names, {}
        offers, self._offers = self._offers, Counter()
        return [
            *(("PUBLISH", keys.signals, f"{self._id} {name}") for name in names),
            *(OFFER.call([keys.ready(name)], keys.signals_to(""), name, offers[name]) for name in offers),
        ]

    def _heard(self, message: str) -> None:
        sender, _, name = message.partition(" ")
        if sender != self._id:
            self._here.notify(name)

    def _heard_alone(self, name: str) -> None:
        self._offered[name] += 1
        self._here.notify(name)
