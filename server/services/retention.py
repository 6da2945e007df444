"""Rules of throwing away on demand: whole threads or their past, and what a thread takes.

What is thrown away by itself is in `expiry.py`.
"""

from collections.abc import Sequence
from functools import partial

from ..errors import TooLarge
from ..models import Caller
from ..storage import threads
from ..storage.database import Database, Tx
from ..storage.usage import BEGINNING, Place, Usage
from ..threads import LATEST, PruneStrategy, ThreadUsage
from .erasure import Eraser
from .threads import missing

CHECKPOINTS_MAX = 100_000  # that are summed up


class Retention:
    """Prunes threads and tells what they take."""

    def __init__(self, database: Database, eraser: Eraser) -> None:
        self._database = database
        self._eraser = eraser

    async def prune(self, caller: Caller, thread_ids: Sequence[str], strategy: PruneStrategy) -> int:
        """Delete these threads, or all but their latest state; returns of how many that was done.

        Those that are not there are passed over, and by `keep_latest` those that are busy.
        """
        done = 0
        for thread_id in dict.fromkeys(thread_ids):
            if strategy is PruneStrategy.delete:
                done += await self._eraser.erase(thread_id)
            else:
                done += await self._eraser.prune(thread_id, LATEST)
        return done

    async def usage(self, caller: Caller, thread_id: str) -> ThreadUsage:
        """What a thread takes in the database. Raises NotFound, TooLarge for a past that is too long."""
        if not await self._database.read(lambda tx: threads.exists(tx, thread_id)):
            raise missing(thread_id)
        found = Usage(thread_id)
        place: Place | None = BEGINNING
        while place is not None:
            place = await self._database.read(partial(_read, found, place))
            if found.count > CHECKPOINTS_MAX:
                raise TooLarge(f"Thread {thread_id} has more than {CHECKPOINTS_MAX} checkpoints")
        return await self._database.read(found.result)


def _read(found: Usage, after: Place, tx: Tx) -> Place | None:
    return found.read(tx, after)
