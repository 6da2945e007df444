"""What a worker does with runs: claim them, learn which to stop, commit how they ended."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog

from ..clock import now
from ..errors import StorageFull, StorageUnavailable
from ..models import Outcome, Run, RunStatus, ThreadStatus
from ..storage import runs as statements
from ..storage import threads, traces
from ..storage.database import Database, Tx
from ..storage.locks import lock_thread, lock_threads
from ..streaming.broker import Broker, Entry
from ..streaming.signals import Signals
from .deliveries import enqueue
from .endings import THREAD_GONE, cancelled, closing_of, returned

T = TypeVar("T")
_log = structlog.get_logger(__name__)

WAIT_SECONDS, WAIT_SECONDS_MAX = 0.1, 2.0  # between two tries to store how a run ended


class Attempts:
    """The attempts to execute runs. No caller stands behind these: the admission asked for leave."""

    def __init__(self, database: Database, broker: Broker, signals: Signals, attempts_max: int) -> None:
        self._database = database
        self._broker = broker
        self._signals = signals
        self._attempts_max = attempts_max

    async def claim(self, limit: int, worker_id: str | None = None, *, likely: bool = False) -> list[Run]:
        """Start up to `limit` runs that are due, for this worker. `likely`: so many were offered to it."""
        # Most looks find nothing, and a transaction that writes costs PostgreSQL a sync all the same.
        if not likely and not await self._database.read(lambda tx: statements.is_due(tx, now())):
            return []
        return await self._database.write(lambda tx: statements.claim(tx, now(), limit, worker_id))

    async def next_due(self) -> str | None:
        """When the earliest waiting run may start."""
        return await self._database.read(statements.next_due)

    async def to_stop(self, run_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Of these running runs, those that must stop: run id -> (action, reason). A run that is gone too."""

        def work(tx: Tx) -> dict[str, tuple[str, str]]:
            found: dict[str, tuple[str, str]] = {}
            for run_id in run_ids:
                run = statements.get(tx, None, run_id)
                if run is None:
                    found[run_id] = ("interrupt", "the run was deleted")
                elif run.stop:
                    found[run_id] = (run.stop, run.reason or "")
            return found

        return await self._database.read(work)

    async def finish(self, run: Run, outcome: Outcome, last: Sequence[Entry]) -> None:
        """Commit how an attempt ended, then append its `last` events and the end of its log.

        A client that looks when its stream closes sees the final state. An attempt that no longer owns
        the run changes nothing and says nothing.
        """
        left = await self._surely(lambda tx: self._record(tx, run, outcome))
        if left is not None:
            await self._tell(run, outcome, last, left)

    async def _tell(self, run: Run, outcome: Outcome, last: Sequence[Entry], left: ThreadStatus) -> None:
        self._signals.notify("webhooks")
        for entry in (*last, closing_of(run.run_id, outcome)):
            self._broker.append(run.run_id, entry)
        await self._broker.end(run.run_id, returned(run.run_id, outcome))
        if left is ThreadStatus.busy:
            self._signals.offer("runs")  # the thread is free for its next run
        elif run.temporary:
            await self._broker.note(run.thread_id, THREAD_GONE)

    async def _surely(self, work: Callable[[Tx], T]) -> T:
        """Write what must not be lost: again and again until the disk, or the database, takes it."""
        wait = WAIT_SECONDS
        while True:
            try:
                return await self._database.write(work)
            except (StorageFull, StorageUnavailable) as failure:
                _log.warning("the end of a run waits for the database", seconds=wait, error=failure.message)
            await asyncio.sleep(wait)
            wait = min(2 * wait, WAIT_SECONDS_MAX)

    def _record(self, tx: Tx, run: Run, outcome: Outcome) -> ThreadStatus | None:
        """The status the thread is left in; None when the attempt does not own the run any more."""
        lock_thread(tx, run.thread_id)
        at = now()
        own_error = outcome.error if outcome.status is not RunStatus.success else None
        if not statements.finish(tx, run, outcome.status, at, error=own_error, reason=outcome.reason):
            return None
        enqueue(tx, run, outcome, at)
        if outcome.rollback:
            traces.delete_run(tx, run.thread_id, run.run_id)
            statements.remove(tx, run.run_id)
        others = statements.has_active(tx, run.thread_id)
        status = ThreadStatus.busy if others else outcome.thread_status
        if run.temporary and not others:
            traces.delete_thread(tx, run.thread_id)
            threads.remove(tx, run.thread_id)
        else:
            threads.set_outcome(tx, run.thread_id, outcome, status, at)
        return status

    async def hand_over(self, runs: Sequence[Run]) -> None:
        """The server goes down: these attempts are given up, and the next process goes on with their runs."""

        def work(tx: Tx) -> None:
            lock_threads(tx, (run.thread_id for run in runs))
            for run in runs:
                statements.hand_over(tx, run)

        # Otherwise they do count; the next process goes on all the same.
        with suppress(StorageFull, StorageUnavailable):
            await self._database.write(work)

    async def recover(self) -> int:
        """What nobody executes any more, because its process crashed, waits again, or has had its tries.

        What was to be stopped is over: nobody who asked for that must see it run again. Returns how many
        runs wait again.
        """

        def work(tx: Tx) -> tuple[int, list[tuple[Run, Outcome, ThreadStatus]]]:
            locked = statements.threads_of_orphans(tx)
            lock_threads(tx, locked)
            over = [
                (run, cancelled(run.stop or "", run.reason or ""))
                for run in statements.orphans_to_stop(tx, locked)
            ]
            stopped = {run.run_id for run, _ in over}
            spent = statements.spent_orphans(tx, locked, self._attempts_max)
            over += [(run, _abandoned(run)) for run in spent if run.run_id not in stopped]
            ended = [(run, outcome, self._record(tx, run, outcome)) for run, outcome in over]
            told = [(run, outcome, left) for run, outcome, left in ended if left is not None]
            return statements.requeue_orphans(tx, locked), told

        count, ended = await self._database.write(work)
        for run, outcome, left in ended:
            await self._broker.begin(run.run_id, run.thread_id, run.attempt)
            await self._tell(run, outcome, (), left)
        if count:
            self._signals.offer("runs", count)
        return count


def _abandoned(run: Run) -> Outcome:
    text = f"the server stopped {run.attempt} times while this run was executing; it is given up"
    error = {"error": "RunAbandoned", "message": text}
    return Outcome(RunStatus.error, ThreadStatus.error, error=error)
