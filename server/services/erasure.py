"""Taking threads and their past away, in transactions so small that the writer serves others in between.

First a thread's runs are stopped, then its past goes piece by piece, at last the thread with what is left.
Whatever happens in between, it is a thread with its latest state.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from ..rules.access import EVERYTHING, Scope
from ..rules.threads import LATEST, Keep
from ..storage import crons, pruning, runs, threads, traces
from ..storage.database import Database, Tx
from ..storage.locks import lock_thread
from ..storage.pruning import Piece
from ..streaming.broker import Broker
from ..streaming.signals import Signals
from .admission import STOP_WAIT_SECONDS, Displaced, Ended, displace, tell
from .endings import DELETED, THREAD_GONE

REASON = "the thread was deleted"
RUNS_AT_ONCE = 100
Still = Callable[[Tx], bool]


def _always(_: Tx) -> bool:
    return True


class Eraser:
    """Removes threads, and from threads what they need not keep. Asks nobody: that is for its callers."""

    def __init__(self, database: Database, broker: Broker, signals: Signals) -> None:
        self._database = database
        self._broker = broker
        self._signals = signals

    async def erase(self, thread_id: str, still: Still = _always, scope: Scope = EVERYTHING) -> bool:
        """Delete a thread with its runs and checkpoints. False when there is none, or it is not `still` so.

        Where there is none within the scope, nothing is stopped.

        What runs for it is stopped first: when this returns, no step of it begins any more (reliability D9).
        Code that cannot be stopped finds its run gone: the fence refuses its writes.
        """
        if not await self._stop(thread_id, still, scope):
            return False
        if await self._shrink(thread_id, still):
            await self._stop(thread_id, still, scope)
        return await self._remove(thread_id, still)

    async def prune(self, thread_id: str, keep: Keep, still: Still = _always) -> bool:
        """Take away what a thread need not keep. False when there is no thread, or it is busy, or not so."""
        while True:
            found = await self._database.read(lambda tx: _outdated(tx, thread_id, keep))
            for part in pruning.slices(found):
                if not await self._database.write(partial(_take, thread_id, part, still)):
                    return False
            if len(found) < pruning.PIECES_MAX:
                return await self._database.read(lambda tx: _at_rest(tx, thread_id))

    async def _stop(self, thread_id: str, still: Still, scope: Scope) -> bool:
        """Have the runs of a thread stopped, and wait until they are."""

        def work(tx: Tx) -> Displaced | None:
            lock_thread(tx, thread_id)
            if not threads.exists(tx, thread_id, scope) or not still(tx):
                return None
            if still is _always:  # or its crons would begin runs again while it waits for the end of others
                crons.remove_of_thread(tx, thread_id)
            displaced = Displaced()
            for run in runs.active(tx, thread_id):
                displace(tx, run, "delete", REASON, displaced)
            return displaced

        displaced = await self._database.write(work)
        if displaced is None:
            return False
        await tell(self._broker, self._signals, displaced)
        for run_id in displaced.stopping:
            await self._broker.ended(run_id, STOP_WAIT_SECONDS)
        return True

    async def _shrink(self, thread_id: str, still: Still) -> bool:
        """Take the past of a thread away. False when it is so short that it can go with the thread."""
        if not await self._database.read(lambda tx: _is_long(tx, thread_id)):
            return False
        await self.prune(thread_id, LATEST, still)
        while await self._database.write(lambda tx: _forget_runs(tx, thread_id, still)) == RUNS_AT_ONCE:
            pass
        return True

    async def _remove(self, thread_id: str, still: Still) -> bool:
        """Delete what is left. Nothing is, when it was a hidden thread that went with its run."""

        def work(tx: Tx) -> list[Ended] | None:
            lock_thread(tx, thread_id)
            if not threads.exists(tx, thread_id):
                return []
            if not still(tx):
                return None
            stopped = [Ended.of(tx, run, DELETED, REASON) for run in runs.active(tx, thread_id)]
            traces.delete_thread(tx, thread_id)
            threads.remove(tx, thread_id)
            return stopped

        hidden = not await self._database.read(lambda tx: threads.exists(tx, thread_id))
        stopped = await self._database.write(work)
        if stopped is None:
            return False
        for ended in stopped:
            await ended.tell(self._broker)
        if not hidden:
            await self._broker.note(thread_id, THREAD_GONE)
        self._signals.notify("stop")
        return True


def _at_rest(tx: Tx, thread_id: str) -> bool:
    return threads.exists(tx, thread_id) and not runs.has_active(tx, thread_id)


def _is_long(tx: Tx, thread_id: str) -> bool:
    if runs.count(tx, thread_id) > RUNS_AT_ONCE:
        return True
    return len([*pruning.slices(_outdated(tx, thread_id, LATEST))]) > 1


def _outdated(tx: Tx, thread_id: str, keep: Keep) -> list[Piece]:
    return pruning.outdated(tx, thread_id, keep, datetime.now(UTC)) if _at_rest(tx, thread_id) else []


def _take(thread_id: str, part: list[Piece], still: Still, tx: Tx) -> bool:
    """A run may have come that begins at one of them."""
    lock_thread(tx, thread_id)
    if not _at_rest(tx, thread_id) or not still(tx):
        return False
    pruning.take(tx, thread_id, part)
    return True


def _forget_runs(tx: Tx, thread_id: str, still: Still) -> int:
    lock_thread(tx, thread_id)
    if not still(tx):
        return 0
    return runs.remove_ended(tx, thread_id, newest=RUNS_AT_ONCE, most=RUNS_AT_ONCE)
