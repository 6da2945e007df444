"""Hints: something may have changed, look again. Losing one costs a moment, never data."""

import asyncio
from typing import Protocol


class Signals(Protocol):
    """A bell with names. Rings are remembered until somebody waits, and then once."""

    def notify(self, name: str) -> None:
        """Ring for all who wait. Any thread; never blocks."""

    def offer(self, name: str, count: int = 1) -> None:
        """There are `count` things to be had, each once: ring for those who are least busy. Any thread."""

    def busy(self, name: str, load: int | None) -> None:
        """How much whoever waits here has taken already; None: it takes no more."""

    async def wait(self, name: str, seconds: float) -> int:
        """Until the next ring or the deadline in seconds, whichever is first.

        Returns how many things were offered to who waits here; 0: whatever there is may be taken.
        """


class LocalSignals:
    """Signals within one process. Create it on the event loop that waits."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: dict[str, asyncio.Event] = {}

    def notify(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self._event(name).set)

    def offer(self, name: str, count: int = 1) -> None:
        self.notify(name)

    def busy(self, name: str, load: int | None) -> None:
        """Nobody else could take it."""

    async def wait(self, name: str, seconds: float) -> int:
        event = self._event(name)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        event.clear()
        return 0

    def _event(self, name: str) -> asyncio.Event:
        return self._events.setdefault(name, asyncio.Event())
