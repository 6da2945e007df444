"""Rules of runs, as callers meet them: admit, read, follow, cancel. A run is its row and its log."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ..clock import new_id, now
from ..errors import NotFound, Overloaded
from ..models import Caller, Run, RunPage, RunRequest, RunSelection, RunStatus, Thread, ThreadStatus
from ..storage import runs as statements
from ..storage import threads
from ..storage.database import Database, Tx
from ..streaming.broker import BEGINNING, Broker, Cursor
from ..streaming.encode import encode
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
        pending_max: int,
    ) -> None:
        self._database = database
        self._broker = broker
        self._signals = signals
        self._graph_ids = graph_ids
        self._pending_max = pending_max
        self._starter: Starter | None = None

    def start_with(self, starter: Starter) -> None:
        """From now on a run that need not wait begins in the transaction that admits it: one commit."""
        self._starter = starter

    async def create(self, caller: Caller, thread_id: str | None, request: RunRequest) -> Run:
        """Admit a run; it is durable when this returns. Without a thread a hidden one is made.

        Raises Invalid, Contradiction, NotFound (thread or assistant), Conflict (busy and `reject`),
        Overloaded (contract/runs.md 4, 13, 16, 18).
        """
        run_plan.check(request, stateless=thread_id is None)
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

    async def create_batch(self, caller: Caller, requests: Sequence[RunRequest]) -> list[Run]:
        """Admit stateless runs together: all of them or, when one is wrong, none (contract/runs.md 16)."""
        for request in requests:
            run_plan.check(request, stateless=True)

        def work(tx: Tx) -> list[Run]:
            return [self._admit(tx, caller, None, request, at_once=False)[0] for request in requests]

        runs = await self._database.write(work)
        for run in runs:
            self._broker.open(run.run_id, run.thread_id)
        self._signals.notify("runs")
        return runs

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
        elif statements.count_pending(tx) >= self._pending_max:
            raise Overloaded(f"{self._pending_max} runs are waiting; try again later")
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

    async def cancel_many(self, caller: Caller, which: RunSelection, action: str) -> None:
        """Stop several runs: those named of a thread, or all of a status. NotFound when none is stopped."""
        found = await self._database.read(lambda tx: statements.select_active(tx, which))
        reason = "interrupt requested via POST /runs/cancel"
        stopped = [await self.stop(run.thread_id, run.run_id, action, reason) for run in found]
        if not any(stopped):
            raise NotFound(NOTHING_TO_CANCEL)

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

    async def returned(self, caller: Caller, thread_id: str, run_id: str) -> bytes | None:
        """What a run answers to those who join it, when only its row is left to tell; None: its log will.

        Raises NotFound for an unknown run.
        """

        def work(tx: Tx) -> tuple[Run | None, Thread | None]:
            return statements.get(tx, thread_id, run_id), threads.get(tx, thread_id)

        run, thread = await self._database.read(work)
        if run is None and not self._outlived(thread_id, run_id):
            raise NotFound(f"Run with ID {run_id} not found")
        if self._broker.thread_of(run_id) is not None:
            return None
        if run is not None and run.status.active:
            self._broker.open(run_id, thread_id)
            return None
        if run is not None and run.status is RunStatus.error:
            return encode({"__error__": run.error})
        return thread.values if thread is not None and thread.values is not None else b"{}"

    async def page(self, caller: Caller, thread_id: str, page: RunPage) -> list[Run]:
        """The runs of a thread, newest first. Raises NotFound for the thread."""

        def work(tx: Tx) -> list[Run]:
            if not threads.exists(tx, thread_id):
                raise missing(thread_id)
            return statements.page(tx, thread_id, page)

        return await self._database.read(work)

    def _outlived(self, thread_id: str | None, run_id: str) -> bool:
        """Whether there is the log of a temporary run whose row is gone."""
        owner = self._broker.thread_of(run_id)
        return owner is not None and thread_id in (None, owner)
