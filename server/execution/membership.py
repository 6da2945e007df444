"""A worker among others: its heartbeat, and that it stops when it cannot be heard (reliability D4).

Whoever is not heard for a lease is taken for dead, and its runs are begun anew elsewhere. So a worker that
does not reach the database gives its runs up before that. What it writes all the same is refused: see the
fence in storage/checkpoints.py.
"""

import asyncio

import structlog

from ..clock import new_id
from ..errors import GraphwireError
from ..services.roster import Roster
from .worker import Worker

_log = structlog.get_logger(__name__)

BEATS = 3  # in a lease
GIVE_UP = 2 / 3  # of a lease without one


class Membership:
    """Keeps one worker in the roster."""

    def __init__(self, roster: Roster, worker: Worker, lease_seconds: float) -> None:
        self._roster = roster
        self._worker = worker
        self._lease_seconds = lease_seconds

    async def join(self) -> None:
        """Begin under a name that no other worker ever had; whatever had the old one is an orphan."""
        worker_id = new_id()
        await self._roster.join(worker_id, self._worker.worker_id)
        self._worker.join(worker_id)

    async def work(self) -> None:
        """Beat for ever."""
        while True:
            await self._live()
            await self._worker.give_up()
            await self._join_at_last()

    async def _live(self) -> None:
        """Until this worker was not heard for too long, or was taken for dead."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._lease_seconds * GIVE_UP
        while (left := deadline - loop.time()) > 0:
            await asyncio.sleep(min(self._lease_seconds / BEATS, left))
            at = loop.time()
            alive = await self._beat(max(deadline - at, self._lease_seconds / 10))
            if alive is False:
                _log.warning("this worker was taken for dead", worker_id=self._worker.worker_id)
                return
            if alive:
                deadline = at + self._lease_seconds * GIVE_UP

    async def _beat(self, seconds: float) -> bool | None:
        """Whether the worker counts as alive; None when nobody answered in that time."""
        try:
            async with asyncio.timeout(seconds):
                return await self._roster.beat(self._worker.worker_id or "")
        except (TimeoutError, GraphwireError):
            return None

    async def _join_at_last(self) -> None:
        while True:
            try:
                return await self.join()
            except GraphwireError:
                await asyncio.sleep(self._lease_seconds / BEATS)

    async def leave(self) -> None:
        """End in order: what is still executed, if anything, is free for others at once."""
        await self._roster.leave(self._worker.worker_id or "")
