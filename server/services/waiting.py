"""What waits and what runs, over all processes: for whoever watches the server. No caller stands behind."""

import asyncio
import time

from ..clock import now
from ..errors import StorageUnavailable
from ..models import RunStatus
from ..storage import runs
from ..storage.database import Database, Tx
from ..telemetry.levels import Queue
from ..telemetry.meters import since

ANSWER_SECONDS = 2.0  # below the timeout of those who collect metrics
FRESH_SECONDS = 1.0  # how long a finding counts: several may watch


class Waiting:
    """Looks at the rows when it is asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asking = asyncio.Lock()
        self._stale_at = 0.0
        self._found: Queue | None = None

    async def look(self) -> Queue | None:
        """The queue; None when the database does not answer in time."""
        async with self._asking:
            if time.monotonic() >= self._stale_at:
                self._found = await self._look()
                self._stale_at = time.monotonic() + FRESH_SECONDS
        return self._found

    async def _look(self) -> Queue | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._database.read(_queue)
        except (TimeoutError, StorageUnavailable):
            return None


def _queue(tx: Tx) -> Queue:
    waiting = runs.count_by_graph(tx, RunStatus.pending)
    running = sum(runs.count_by_graph(tx, RunStatus.running).values())
    return Queue(waiting, running, *(None if at is None else since(at) for at in runs.waits(tx, now())))
