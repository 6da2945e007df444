"""What is thrown away by itself: threads whose time has come, and what threads need not keep of their past.

Truth is when a thread last changed; when to look at it is only noted, and too early at worst. So no run has
to write anything for it.
"""

from datetime import UTC, datetime
from functools import partial

import structlog

from ..clock import after, now
from ..rules.threads import LATEST, Keep, PruneStrategy, RetentionRules
from ..storage import pruning, thread_copies, ttls
from ..storage.database import Database, Tx
from ..storage.ttls import Mortal
from .erasure import Eraser
from .thread_copy import discard
from .threads import later

_log = structlog.get_logger(__name__)

AT_ONCE = 100  # threads that are looked at together


class Expiry:
    """Sweeps. No caller stands behind it: the configuration and the threads themselves say what goes."""

    def __init__(self, database: Database, eraser: Eraser, rules: RetentionRules) -> None:
        self._database = database
        self._eraser = eraser
        self._rules = rules

    async def begin(self) -> None:
        """At the start: what new threads get by themselves."""
        await self._database.write(lambda tx: ttls.set_default(tx, self._rules.default_ttl))

    async def discard_copies(self) -> None:
        """Throw away what copies have left that were under way when their process was killed.

        One that is still under way elsewhere begins anew.
        """
        while found := await self._database.read(lambda tx: thread_copies.unfinished(tx, AT_ONCE)):
            for target in found:
                await discard(self._database, target)

    async def sweep(self) -> None:
        """Throw away what may go now, no more than the rules allow at a time."""
        left = self._rules.sweep_limit
        while left > 0 and (found := await self._due(min(left, AT_ONCE))):
            left -= len(found)
            for thread in found:
                await self._expire(thread)
        if self._rules.keep is not None:
            await self._shorten(self._rules.keep)

    async def _due(self, most: int) -> list[Mortal]:
        """Threads to look at. They are put off before: one that cannot be swept must not stop the others."""

        def work(tx: Tx) -> list[Mortal]:
            found = ttls.due(tx, now(), most)
            again = after(self._rules.sweep_seconds)
            ttls.postpone(
                tx, {each.thread_id: max(again, later(each.updated_at, each.minutes)) for each in found}
            )
            return found

        return await self._database.write(work)

    async def _expire(self, thread: Mortal) -> None:
        if thread.busy or later(thread.updated_at, thread.minutes) > now():
            return
        still = partial(_unchanged, thread)
        if thread.strategy is PruneStrategy.delete:
            if await self._eraser.erase(thread.thread_id, still):
                _log.info("a thread has expired", thread_id=thread.thread_id)
        elif await self._eraser.prune(thread.thread_id, LATEST, still):
            again = after(thread.minutes * 60)
            await self._database.write(lambda tx: ttls.postpone(tx, {thread.thread_id: again}))

    async def _shorten(self, keep: Keep) -> None:
        """Go through the past of all threads; taking away is limited, looking is cheap."""
        left = self._rules.sweep_limit
        place: str | None = ""
        while place is not None and left > 0:
            found, place = await self._database.read(partial(_with_past, keep, place))
            for thread_id in found[:left]:
                await self._eraser.prune(thread_id, keep)
            left -= len(found)


def _unchanged(thread: Mortal, tx: Tx) -> bool:
    return ttls.unchanged(tx, thread)


def _with_past(keep: Keep, place: str, tx: Tx) -> tuple[list[str], str | None]:
    return pruning.with_past(tx, keep, place, datetime.now(UTC))
