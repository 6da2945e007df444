"""Rules of throwing away on demand: whole threads or their past, and what a thread takes.

What is thrown away by itself is in `expiry.py`.
"""

from collections.abc import Sequence
from functools import partial

from ..errors import NotFound, TooLarge
from ..models import Caller
from ..rules.access import Scope
from ..rules.threads import LATEST, PruneStrategy, ThreadUsage
from ..storage import threads
from ..storage.database import Database, Tx
from ..storage.usage import BEGINNING, Place, Usage
from .authorization import OPEN, Authorization
from .erasure import Eraser
from .threads import missing

CHECKPOINTS_MAX = 100_000  # that are summed up


class Retention:
    """Prunes threads and tells what they take."""

    def __init__(self, database: Database, eraser: Eraser, authorization: Authorization = OPEN) -> None:
        self._database = database
        self._eraser = eraser
        self._authorization = authorization

    async def prune(self, caller: Caller, thread_ids: Sequence[str], strategy: PruneStrategy) -> int:
        """Delete these threads, or all but their latest state; returns of how many that was done.

        Those that are not there are passed over, and by `keep_latest` those that are busy. Raises NotFound,
        and does nothing, where one is not the caller's; who may be refused is not told whether it is there.
        """
        named = [*dict.fromkeys(thread_ids)]
        scopes = await self._scopes(caller, named)

        def all_there(tx: Tx) -> bool:
            return all(threads.exists(tx, thread_id, scope) for thread_id, scope in scopes.items())

        if any(scopes.values()) and not await self._database.read(all_there):
            raise NotFound("At least one thread not found or not authorized")
        return sum([await self._prune(thread_id, strategy, scopes[thread_id]) for thread_id in named])

    async def _scopes(self, caller: Caller, thread_ids: Sequence[str]) -> dict[str, Scope]:
        """Asked for all together, then for each."""
        ask = partial(self._authorization.ask, caller, "threads", "delete")
        together = await ask({"thread_ids": [*thread_ids]})
        if not self._authorization.asks:
            return dict.fromkeys(thread_ids, together)
        return {thread_id: together & await ask({"thread_id": thread_id}) for thread_id in thread_ids}

    async def _prune(self, thread_id: str, strategy: PruneStrategy, scope: Scope) -> bool:
        if strategy is PruneStrategy.delete:
            return await self._eraser.erase(thread_id, scope=scope)
        return await self._eraser.prune(thread_id, LATEST, lambda tx: threads.exists(tx, thread_id, scope))

    async def usage(self, caller: Caller, thread_id: str) -> ThreadUsage:
        """What a thread takes in the database. Raises NotFound, TooLarge for a past that is too long."""
        scope = await self._authorization.ask(caller, "threads", "read", {"thread_id": thread_id})
        if not await self._database.read(lambda tx: threads.exists(tx, thread_id, scope)):
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
