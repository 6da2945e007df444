"""Rules of runs: admit, cancel, finish. A run is its row; what it emits is its log."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..clock import new_id, now
from ..errors import Contradiction, NotFound, Overloaded
from ..models import Caller, Outcome, Run, RunRequest, RunStatus, ThreadStatus
from ..storage import checkpoints, threads
from ..storage import runs as statements
from ..storage.database import Database, Tx
from ..streaming.broker import BEGINNING, Broker, Cursor, Entry
from ..streaming.encode import encode, raw
from ..streaming.signals import Signals
from . import run_plan
from .admission import Displaced, admit, displace
from .assistants import resolve
from .threads import missing, new_thread

STOP_SECONDS = 0.1  # how soon a cancelled run is over, also when its code does not listen
STOP_WAIT_SECONDS = 10.0  # the longest that a caller of cancel with `wait` is kept
NOTHING_TO_CANCEL = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, "
    "and the runs haven't been deleted or completed."
)


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How many runs may wait, and how often one is tried."""

    pending_max: int
    attempts_max: int


class Starter(Protocol):
    """A worker in this process that takes runs as they are admitted."""

    def reserve(self) -> bool:
        """Keep a slot free for a run that is about to be admitted; False when there is none."""

    def release(self) -> None:
        """Give the slot back: nothing was admitted, or it has to wait."""

    def start(self, run: Run) -> None:
        """Execute a run that was admitted as running, in the reserved slot."""


class Runs:
    """The runs of this server, for every door and for the worker."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        signals: Signals,
        graph_ids: Sequence[str],
        limits: RunLimits,
    ) -> None:
        self._database = database
        self._broker = broker
        self._signals = signals
        self._graph_ids = graph_ids
        self._limits = limits
        self._starter: Starter | None = None

    def start_with(self, starter: Starter) -> None:
        """From now on a run that need not wait begins in the transaction that admits it: one commit."""
        self._starter = starter

    # -- what callers ask ---------------------------------------------------------------------------------

    async def create(self, caller: Caller, thread_id: str | None, request: RunRequest) -> Run:
        """Admit a run; it is durable when this returns. Without a thread a hidden one is made.

        Raises Invalid, Contradiction, NotFound (thread or assistant), Conflict (busy and `reject`),
        Overloaded (contract/runs.md 4, 13, 16, 18).
        """
        run_plan.check(request)
        if thread_id is None and request.command and request.command.get("resume") is not None:
            raise Contradiction("You must provide a thread_id when resuming.")
        starter = self._starter if self._starter is not None and self._starter.reserve() else None
        try:
            run, displaced = await self._database.write(
                lambda tx: self._admit(tx, caller, thread_id, request, at_once=starter is not None)
            )
        except BaseException:
            if starter is not None:
                starter.release()
            raise
        self._broker.open(run.run_id, run.thread_id)
        self._tell(displaced)
        self._hand_over(run, starter)
        return run

    def _hand_over(self, run: Run, starter: Starter | None) -> None:
        """To the worker that waits for it, or to whichever hears the signal."""
        if starter is not None and run.status is RunStatus.running:
            starter.start(run)
            return
        if starter is not None:
            starter.release()
        self._signals.notify("runs")

    def _admit(
        self, tx: Tx, caller: Caller, thread_id: str | None, request: RunRequest, *, at_once: bool
    ) -> tuple[Run, Displaced]:
        assistant = resolve(tx, request.assistant_id, self._graph_ids)
        run_id, at = new_id(), now()
        on, metadata = self._thread_for(tx, thread_id, request)
        displaced = admit(tx, on, run_id, request.multitask_strategy) if thread_id else Displaced()
        temporary = thread_id is None and request.on_completion == "delete"
        run = run_plan.plan(request, run_id, on, assistant, metadata, caller, temporary)
        if at_once and request.after_seconds <= 0 and not (thread_id and statements.has_active(tx, on)):
            run = replace(run, status=RunStatus.running, attempt=1)
        elif statements.count_pending(tx) >= self._limits.pending_max:
            raise Overloaded(f"{self._limits.pending_max} runs are waiting; try again later")
        statements.add(tx, run)
        told = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
        threads.begin_run(tx, on, {**metadata, **told}, at)
        return run, displaced

    def _thread_for(
        self, tx: Tx, thread_id: str | None, request: RunRequest
    ) -> tuple[str, dict[str, object]]:
        """(thread id, its metadata); made where the request allows it."""
        if thread_id is not None and (metadata := threads.metadata_of(tx, thread_id)) is not None:
            return thread_id, metadata
        if thread_id is not None and request.if_not_exists != "create":
            raise missing(thread_id)
        thread = new_thread(thread_id or new_id(), {})
        threads.add(tx, thread)
        return thread.thread_id, thread.metadata

    async def get(self, caller: Caller, thread_id: str, run_id: str) -> Run:
        """One run of a thread. Raises NotFound."""
        run = await self._database.read(lambda tx: statements.get(tx, thread_id, run_id))
        if run is None:
            raise NotFound(f"Run with ID {run_id} not found")
        return run

    async def cancel(self, caller: Caller, thread_id: str, run_id: str, action: str, *, wait: bool) -> None:
        """Stop a run; returns when it has stopped, without `wait` at the latest after a moment.

        Raises NotFound for a run that is unknown or has ended (contract/runs.md 14).
        """
        await self.get(caller, thread_id, run_id)
        reason = f"interrupt requested via POST /threads/{thread_id}/runs/{run_id}/cancel"
        if not await self.stop(thread_id, run_id, action, reason):
            raise NotFound(NOTHING_TO_CANCEL)
        await self._broker.ended(run_id, STOP_WAIT_SECONDS if wait else 2 * STOP_SECONDS)

    async def stop(self, thread_id: str, run_id: str, action: str, reason: str) -> bool:
        """Have a run stopped, whoever asks. False when there is nothing to stop."""

        def work(tx: Tx) -> Displaced:
            displaced = Displaced()
            run = statements.get(tx, thread_id, run_id)
            if run is not None and run.status.active:
                displace(tx, run_id, run.status, action, reason, displaced)
                if displaced.ended and not statements.has_active(tx, thread_id):
                    self._leave(tx, run)
            return displaced

        displaced = await self._database.write(work)
        self._tell(displaced)
        return bool(displaced.stopping or displaced.ended)

    def _leave(self, tx: Tx, run: Run) -> None:
        """The last run of a thread went away before it started."""
        if run.temporary:
            threads.remove(tx, run.thread_id)
        else:
            threads.set_status(tx, run.thread_id, ThreadStatus.idle, now())

    def _tell(self, displaced: Displaced) -> None:
        for run_id in displaced.ended:
            self._broker.end(run_id, b"{}")  # a client may wait on a run that never started
        if displaced.stopping:
            self._signals.notify("stop")

    async def watch(
        self, caller: Caller, thread_id: str | None, run_id: str, last_event_id: str | None
    ) -> Cursor | None:
        """Where a reader of this run begins: after `last_event_id`, else now. None: there is nothing to come.

        Raises NotFound (contract/runs.md 8; an unknown run is a 404 here).
        """
        run = await self._database.read(lambda tx: statements.get(tx, thread_id, run_id))
        if run is None and not self._outlived(thread_id, run_id):
            raise NotFound(f"Run with ID {run_id} not found")
        tail = self._broker.tail(run_id)
        if tail is None and run is not None and run.status.active:
            self._broker.open(run_id, run.thread_id)
            return BEGINNING
        if last_event_id is not None:
            return Cursor.parse(last_event_id)
        if run is None or not run.status.active:
            return None
        return tail if run.status is RunStatus.running else BEGINNING

    def _outlived(self, thread_id: str | None, run_id: str) -> bool:
        """Whether there is the log of a temporary run whose row is gone."""
        owner = self._broker.thread_of(run_id)
        return owner is not None and thread_id in (None, owner)

    # -- what the worker does -----------------------------------------------------------------------------

    async def claim(self, limit: int) -> list[Run]:
        """Start up to `limit` runs that are due."""
        return await self._database.write(lambda tx: statements.claim(tx, now(), limit))

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
        left = await self._database.write(lambda tx: self._record(tx, run, outcome))
        if left is None:
            return
        for entry in last:
            self._broker.append(run.run_id, entry)
        self._broker.end(run.run_id, _returned(outcome))
        if left is ThreadStatus.busy:
            self._signals.notify("runs")  # the thread is free for its next run

    def _record(self, tx: Tx, run: Run, outcome: Outcome) -> ThreadStatus | None:
        """The status the thread is left in; None when the attempt does not own the run any more."""
        at = now()
        own_error = outcome.error if outcome.status is not RunStatus.success else None
        if not statements.finish(tx, run, outcome.status, at, error=own_error, reason=outcome.reason):
            return None
        if outcome.rollback:
            checkpoints.delete_run(tx, run.thread_id, run.run_id)
            statements.remove(tx, run.run_id)
            outcome = Outcome(outcome.status, ThreadStatus.idle, error=outcome.error)
        others = statements.has_active(tx, run.thread_id)
        status = ThreadStatus.busy if others else outcome.thread_status
        if run.temporary and not others:
            checkpoints.delete_thread(tx, run.thread_id)
            threads.remove(tx, run.thread_id)
        else:
            threads.set_outcome(tx, run.thread_id, outcome, status, at)
        return status

    async def recover(self) -> int:
        """After a start of the only worker: what a crash left running waits again, or has had its tries."""

        def work(tx: Tx) -> tuple[int, list[str]]:
            spent = statements.spent(tx, self._limits.attempts_max)
            for run in spent:
                text = f"the server stopped {run.attempt} times while this run was executing; it is given up"
                failed = Outcome(
                    RunStatus.error, ThreadStatus.error, error={"error": "RunAbandoned", "message": text}
                )
                self._record(tx, run, failed)
            return statements.requeue_running(tx), [run.run_id for run in spent]

        count, _ = await self._database.write(work)
        return count


def _returned(outcome: Outcome) -> bytes:
    """What `wait` and `join` answer: the values, with what waits for an answer (contract/runs.md 10)."""
    if outcome.status in (RunStatus.error,):
        return encode({"__error__": outcome.error})
    values = outcome.values or b"{}"
    if outcome.returned_interrupts is None:
        return values
    if not values.startswith(b"{"):
        return encode({"__interrupt__": raw(outcome.returned_interrupts)})
    inner = values[1:-1]
    comma = b"," if inner else b""
    return b"{" + inner + comma + b'"__interrupt__":' + outcome.returned_interrupts + b"}"
