"""What only one process may do, done by one of several: whoever holds the duty in the database.

A process that lost it may not know for a moment. So nothing depends on there being one alone: a tick of a
cron is taken by its row, a deletion may happen twice, a webhook may come twice and says so.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress

import structlog

from ..clock import new_id
from ..errors import GraphwireError
from ..services.roster import Roster
from .supervisor import keep_going

_log = structlog.get_logger(__name__)

BEATS = 3  # in a lease
DUTY = "housekeeping"

Work = Callable[[], Coroutine[None, None, None]]


class Election:
    """Stands for election for ever, and does the work while elected."""

    def __init__(self, roster: Roster, lease_seconds: float) -> None:
        self._roster = roster
        self._lease_seconds = lease_seconds
        self._holder = new_id()
        self._tasks: list[asyncio.Task[None]] = []
        self._lost_at = asyncio.get_running_loop().time()  # when the database was last out of reach

    @property
    def steady(self) -> bool:
        """Whether the database was there for a lease: before that, nobody can be said to be dead."""
        return asyncio.get_running_loop().time() - self._lost_at > self._lease_seconds

    async def work(self, works: Mapping[str, Work]) -> None:
        """Until cancelled; then another may begin at once."""
        loop = asyncio.get_running_loop()
        held = loop.time()
        try:
            while True:
                if await self._take():
                    held = loop.time()
                    self._begin(works)
                elif loop.time() - held > self._lease_seconds / BEATS or not self._tasks:
                    await self._end()
                await asyncio.sleep(self._lease_seconds / BEATS)
        finally:
            await self._end()
            with suppress(GraphwireError):
                await self._roster.give_up(DUTY, self._holder)

    async def _take(self) -> bool:
        try:
            async with asyncio.timeout(self._lease_seconds / BEATS):
                return await self._roster.take(DUTY, self._holder)
        except (TimeoutError, GraphwireError):
            self._lost_at = asyncio.get_running_loop().time()
            return False

    def _begin(self, works: Mapping[str, Work]) -> None:
        if not self._tasks:
            _log.info("this process does the housekeeping")
            self._tasks = [asyncio.create_task(keep_going(name, work)) for name, work in works.items()]

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
