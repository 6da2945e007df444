"""Crons that are due -> runs, on time and one cron whatever becomes of the others."""

import asyncio

import structlog

from ..errors import GraphwireError
from ..rules.crons import Tick
from ..services.ticks import Ticks
from ..streaming.signals import Signals

_log = structlog.get_logger(__name__)

POLL_SECONDS = 5.0  # the safety net, as in worker.py; also for a clock that was put forward
AT_ONCE = 256  # ticks that are seen to at the same time; one may wait for a name server
LAST_SECONDS = 1.0  # for what is under way when the server stops
AGAIN_SECONDS = 1.0


class Scheduler:
    """Sees to ticks for ever; on the loop of the process."""

    def __init__(self, ticks: Ticks, signals: Signals) -> None:
        self._ticks = ticks
        self._signals = signals
        self._in_hand: dict[str, asyncio.Task[None]] = {}

    async def work(self) -> None:
        """See to what is due whenever a cron was changed, when the next tick comes, and now and then."""
        try:
            while True:
                await self._signals.wait("crons", await self._round())
        finally:
            tasks = list(self._in_hand.values())
            if tasks:
                await asyncio.wait(tasks, timeout=LAST_SECONDS)
            for task in tasks:
                task.cancel()

    async def _round(self) -> float:
        """Begin what is due; returns the seconds until there may be more."""
        free = AT_ONCE - len(self._in_hand)
        if free <= 0:
            return POLL_SECONDS  # each that ends rings
        found, seconds = await self._ticks.due(free, list(self._in_hand))
        for tick in found:
            self._begin(tick)
        return POLL_SECONDS if seconds is None else min(max(seconds, 0.0), POLL_SECONDS)

    def _begin(self, tick: Tick) -> None:
        task = asyncio.create_task(self._see_to(tick))
        self._in_hand[tick.cron_id] = task
        task.add_done_callback(lambda _: self._end(tick.cron_id))

    def _end(self, cron_id: str) -> None:
        del self._in_hand[cron_id]
        self._signals.notify("crons")

    async def _see_to(self, tick: Tick) -> None:
        """One tick. What goes wrong with it is told, tried again later, and the matter of its cron alone."""
        try:
            await self._ticks.fire(tick)
        except Exception as failure:
            unforeseen = None if isinstance(failure, GraphwireError) else failure
            _log.error(
                "a cron is late", cron_id=tick.cron_id, due=tick.at, error=str(failure), exc_info=unforeseen
            )
            await self._postpone(tick)

    async def _postpone(self, tick: Tick) -> None:
        try:
            await self._ticks.postpone(tick)
        except Exception:  # the database takes nothing at present
            await asyncio.sleep(AGAIN_SECONDS)
