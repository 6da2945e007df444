"""Logs without an end: their runs are over, but who executed them was killed before it could say so.

Readers of such a log would wait for ever. Each process looks at the rows of the runs whose readers here have
heard nothing for a while, and ends the logs of those that are over. Whether their last events are missing
nobody knows: readers are told that they may be.
"""

import time
from typing import Protocol

from ..models import Run, RunStatus, Thread
from ..storage import runs, threads
from ..storage.database import Database, Tx
from ..streaming.broker import Broker, Entry
from ..streaming.encode import encode
from .endings import closing, failed
from .readers import told_by_rows

LAST_WORD = 2**31 - 1  # an attempt that no writer of the log outranks
PATIENCE_SECONDS = 3.0  # for who knows the end and may be about to tell it: PostgreSQL was away, for one
_GAP = {"error": "EventsExpired", "message": "The last events of this run may be missing; read the thread"}


class WatchedBroker(Broker, Protocol):
    """Logs that are written elsewhere."""

    def awaited(self) -> list[str]:
        """The runs of logs that somebody reads here, and of which nothing has come for some seconds."""


class Closer:
    """Ends what nobody else will."""

    def __init__(self, database: Database, broker: WatchedBroker) -> None:
        self._database = database
        self._broker = broker
        self._over: dict[str, float] = {}  # runs that are over and not closed -> since when that is known

    async def close(self) -> None:
        """Look once at what is awaited here."""
        awaited = self._broker.awaited()
        self._over = {run_id: since for run_id, since in self._over.items() if run_id in awaited}
        for run_id in awaited:
            run, thread = await self._database.read(lambda tx, run_id=run_id: _find(tx, run_id))  # type: ignore[misc]
            if run is not None and run.status.active:
                self._over.pop(run_id, None)
            elif time.monotonic() - self._over.setdefault(run_id, time.monotonic()) >= PATIENCE_SECONDS:
                await self._end(run_id, run, thread)

    async def _end(self, run_id: str, run: Run | None, thread: Thread | None) -> None:
        thread_id = run.thread_id if run else await self._broker.thread_of(run_id)
        if thread_id is None:
            return
        gone = {"error": "NotFound", "message": f"Run with ID {run_id} not found"}
        how = closing(run_id, run.status if run else RunStatus.error, run.reason if run else None)
        await self._broker.begin(run_id, thread_id, LAST_WORD)
        for entry in (Entry("error", encode(_GAP)), how):
            self._broker.append(run_id, entry)
        await self._broker.end(run_id, told_by_rows(run, thread) if run else failed(gone))


def _find(tx: Tx, run_id: str) -> tuple[Run | None, Thread | None]:
    run = runs.get(tx, None, run_id)
    return run, threads.get(tx, run.thread_id) if run else None
