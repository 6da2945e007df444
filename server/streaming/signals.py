"""Hints: something may have changed, look again. Losing one costs a moment, never data."""

import asyncio
from typing import Protocol


class Signals(Protocol):
    """A bell with names. Rings are remembered until somebody waits, and then once."""

    def notify(self, name: str) -> None:
        """Ring. Any thread; never blocks."""

    async def wait(self, name: str, seconds: float) -> None:
        """Until the next ring or the deadline in seconds, whichever is first."""


class LocalSignals:
    """Signals within one process. Create it on the event loop that waits."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: dict[str, asyncio.Event] = {}

    def notify(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self._event(name).set)

    async def wait(self, name: str, seconds: float) -> None:
        event = self._event(name)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        event.clear()

    def _event(self, name: str) -> asyncio.Event:
        return self._events.setdefault(name, asyncio.Event())
