"""Rules of stopping runs, as callers meet them: one, several, one that has not come (contract/runs.md 14)."""

from ..clock import now
from ..errors import NotFound
from ..models import Caller, Json, Run, RunSelection, ThreadStatus
from ..rules.access import EVERYTHING, Scope
from ..storage import names, threads
from ..storage import runs as statements
from ..storage.database import Database, Tx
from ..storage.locks import lock, lock_thread
from ..streaming.broker import Broker
from ..streaming.signals import Signals
from .admission import STOP_SECONDS, STOP_WAIT_SECONDS, Displaced, displace, tell
from .authorization import OPEN, Authorization

EARLY_CANCELS_MAX = 10_000  # that are remembered for runs which have not come yet
NOTHING_TO_CANCEL = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, "
    "and the runs haven't been deleted or completed."
)


class Stopping:
    """Stops runs. A part of `Runs`."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        signals: Signals,
        authorization: Authorization = OPEN,
    ) -> None:
        self._database = database
        self._broker = broker
        self._signals = signals
        self._authorization = authorization

    async def cancel(self, caller: Caller, thread_id: str, run_id: str, action: str, *, wait: bool) -> None:
        """Stop a run; returns when it has stopped, without `wait` at the latest after a moment.

        Raises NotFound for a run that is unknown or has ended (contract/runs.md 14). Of a cancel that came
        before its run, whose name the client chose, it is remembered that the run must not begin.
        """
        value = _value(thread_id, action, {"run_ids": [run_id], "status": None})
        scope = await self._authorization.ask(caller, "threads", "update", value)
        found = await self._database.read(lambda tx: statements.get(tx, thread_id, run_id, scope))
        if found is None and not await self._cancel_early(caller, thread_id, run_id, scope):
            raise NotFound("No runs found to cancel.")
        reason = f"interrupt requested via POST /threads/{thread_id}/runs/{run_id}/cancel"
        if not await self.stop(thread_id, run_id, action, reason):
            raise NotFound(NOTHING_TO_CANCEL)
        await self._broker.ended(run_id, STOP_WAIT_SECONDS if wait else 2 * STOP_SECONDS)

    async def may_cancel(self, caller: Caller, thread_id: str, run_id: str) -> None:
        """Raises NotFound, or what `Authorization.ask` raises, for a run that the caller may not stop."""
        if self._authorization.asks:
            value = _value(thread_id, "interrupt", {"run_ids": [run_id], "status": None})
            scope = await self._authorization.ask(caller, "threads", "update", value)
            if await self._database.read(lambda tx: statements.get(tx, thread_id, run_id, scope)) is None:
                raise NotFound(f"Run with ID {run_id} not found")

    async def _cancel_early(
        self, caller: Caller, thread_id: str, run_id: str, scope: Scope = EVERYTHING
    ) -> bool:
        """Remember the cancel of a run that is not there, unless it was. Whether it is there by now."""
        over = await self._broker.thread_of(run_id) is not None

        def work(tx: Tx) -> bool:
            lock(tx, f"run:{run_id}")
            run = statements.get(tx, None, run_id)
            known = over or run or names.get(tx, caller.identity, f"run {run_id}")
            if not known and names.count_early_cancels(tx, EARLY_CANCELS_MAX) < EARLY_CANCELS_MAX:
                why = "cancelled before it was created"
                names.cancel_early(tx, run_id, why, now(), caller.identity)
            return statements.get(tx, thread_id, run_id, scope) is not None

        return await self._database.write(work)

    async def cancel_many(self, caller: Caller, which: RunSelection, action: str) -> None:
        """Stop several runs: those named of a thread, or all of a status. NotFound when none is stopped."""
        told = {"run_ids": [*which.run_ids] or None, "status": [*which.statuses]}
        value = _value(which.thread_id, action, told)
        scope = await self._authorization.ask(caller, "threads", "update", value)
        found = await self._database.read(lambda tx: statements.select_active(tx, which, scope))
        reason = "interrupt requested via POST /runs/cancel"
        stopped = [await self.stop(run.thread_id, run.run_id, action, reason) for run in found]
        if not any(stopped):
            raise NotFound(NOTHING_TO_CANCEL)

    async def stop(self, thread_id: str, run_id: str, action: str, reason: str) -> bool:
        """Have a run stopped, whoever asks. False when there is nothing to stop."""

        def work(tx: Tx) -> Displaced:
            lock_thread(tx, thread_id)
            displaced = Displaced()
            run = statements.get(tx, thread_id, run_id)
            if run is not None and run.status.active:
                displace(tx, run, action, reason, displaced)
                if displaced.ended and not statements.has_active(tx, thread_id):
                    self._leave(tx, run, displaced)
            return displaced

        displaced = await self._database.write(work)
        await tell(self._broker, self._signals, displaced)
        return bool(displaced.stopping or displaced.ended)

    def _leave(self, tx: Tx, run: Run, displaced: Displaced) -> None:
        """The last run of a thread went away before it started."""
        if run.temporary:
            threads.remove(tx, run.thread_id)
            displaced.thread_gone = run.thread_id
        else:
            threads.set_status(tx, run.thread_id, ThreadStatus.idle, now())


def _value(thread_id: str | None, action: str, told: Json) -> Json:
    """What handlers are told of it: of the four ways to stop they know two."""
    known = "rollback" if action == "rollback" else "interrupt"
    return {"thread_id": thread_id, "action": known, "metadata": told}
