"""Rules of runs, as callers meet them: admit, read, follow, cancel. A run is its row and its log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..clock import new_id, now
from ..errors import Conflict, NotFound
from ..models import (
    Assistant,
    Caller,
    Json,
    PendingLimits,
    Run,
    RunPage,
    RunRequest,
    RunSelection,
    RunStatus,
    ThreadStatus,
)
from ..storage import names, threads
from ..storage import runs as statements
from ..storage.database import Database, Tx
from ..storage.locks import lock, lock_thread
from ..streaming.broker import Broker
from ..streaming.signals import Signals
from . import naming, run_plan, shares
from .admission import (
    STOP_SECONDS,
    STOP_WAIT_SECONDS,
    Displaced,
    Ended,
    admit,
    displace,
    refuse_second_answer,
    tell,
)
from .assistants import resolve
from .deliveries import enqueue_unstarted
from .endings import cancelled
from .starter import Starter
from .threads import missing, new_thread
from .webhook_policy import WebhookPolicy

EARLY_CANCELS_MAX = 10_000  # that are remembered for runs which have not come yet
NOTHING_TO_CANCEL = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, "
    "and the runs haven't been deleted or completed."
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A run that a call asked for. `known`: an earlier call of the same name had made it."""

    run: Run
    displaced: Displaced = field(default_factory=Displaced)
    known: bool = False
    gone: bool = False  # known, but only its log may tell of it any more


class Runs:
    """The runs of this server, for every door and for the worker."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        signals: Signals,
        graph_ids: Sequence[str],
        pending: PendingLimits,
        webhooks: WebhookPolicy,
    ) -> None:
        self._database = database
        self._broker = broker
        self._signals = signals
        self._graph_ids = graph_ids
        self._pending = pending
        self._webhooks = webhooks
        self._starter: Starter | None = None

    def start_with(self, starter: Starter) -> None:
        """From now on a run that need not wait begins in the transaction that admits it: one commit."""
        self._starter = starter

    async def create(
        self,
        caller: Caller,
        thread_id: str | None,
        request: RunRequest,
        first: Callable[[Tx], None] | None = None,
    ) -> Run:
        """Admit a run; it is durable when this returns. Without a thread a hidden one is made.

        What `first` does stands in the same transaction: it happens with the run or not at all.

        A call that is repeated under the same name (`run_id`, `idempotency_key`) returns the run it made.
        Raises Invalid, Contradiction, NotFound (thread or assistant), Conflict (busy and `reject`, a second
        answer, a taken name), Overloaded, TooMany (contract/runs.md 4, 13, 16, 18).
        """
        run_plan.check(request, stateless=thread_id is None)
        (request,) = await self._webhooks.admitted(request)
        used = await self._used(request)
        starter = self._starter if self._starter is not None and self._starter.reserve() else None

        def work(tx: Tx) -> Admitted:
            if thread_id is not None:
                lock_thread(tx, thread_id)
            if first is not None:
                first(tx)
            return self._admit(tx, caller, thread_id, request, used, starter)

        try:
            admitted = await self._database.write(work)
        except BaseException:
            if starter is not None:
                starter.release()
            raise
        await self._hand_over(admitted, starter)
        return admitted.run

    async def create_batch(self, caller: Caller, requests: Sequence[RunRequest]) -> list[Run]:
        """Admit stateless runs together: all of them or, when one is wrong, none (contract/runs.md 16)."""
        for request in requests:
            run_plan.check(request, stateless=True)
        requests = await self._webhooks.admitted(*requests)

        used = [await self._used(request) for request in requests]

        def work(tx: Tx) -> list[Admitted]:
            return [
                self._admit(tx, caller, None, request, taken, None)
                for request, taken in zip(requests, used, strict=True)
            ]

        found = await self._database.write(work)
        for admitted in found:
            await self._hand_over(admitted, None)
        return [admitted.run for admitted in found]

    async def _used(self, request: RunRequest) -> bool:
        """Whether the id that a client chose is that of a log: its run may be gone."""
        return request.run_id is not None and await self._broker.thread_of(request.run_id) is not None

    async def _hand_over(self, admitted: Admitted, starter: Starter | None) -> None:
        """To the worker that waits for the run, or to whichever hears the signal."""
        run = admitted.run
        starts = run.status is RunStatus.running and not admitted.known
        if starter is not None and not starts:
            starter.release()
        if admitted.gone and await self._broker.thread_of(run.run_id) is None:
            raise Conflict(f"run {run.run_id}, which this call had started, has ended and is gone")
        if admitted.gone:
            return
        if run.status.active or not admitted.known:  # a known one may be there since an earlier process
            self._broker.open(run.run_id, run.thread_id)
        if starter is not None and starts:
            starter.start(run)
        elif run.status is RunStatus.pending and not admitted.known:
            self._signals.offer("runs")
        await tell(self._broker, self._signals, admitted.displaced)

    def _admit(
        self,
        tx: Tx,
        caller: Caller,
        thread_id: str | None,
        request: RunRequest,
        used: bool,
        starter: Starter | None,
    ) -> Admitted:
        """On a thread that is locked. How many may wait is counted without a lock: some more may slip in."""
        if request.run_id is not None:
            lock(tx, f"run:{request.run_id}")  # against its own early cancel
        assistant = resolve(tx, request.assistant_id, self._graph_ids)
        if (named := naming.known(tx, caller, thread_id, request)) is not None:
            return self._named(tx, caller, request, assistant, named)
        run_id, at = self._free_id(tx, request, used), now()
        on, metadata = self._thread_for(tx, thread_id, request)
        naming.remember(tx, caller, thread_id, request, run_id, on)
        if thread_id:
            refuse_second_answer(tx, on, request)
        temporary = thread_id is None and request.on_completion == "delete"
        run = run_plan.plan(request, run_id, on, assistant, metadata, caller, temporary)
        if request.run_id and (reason := names.take_early_cancel(tx, run_id)) is not None:
            return self._stillborn(tx, run, reason)
        displaced = admit(tx, on, run_id, request.multitask_strategy) if thread_id else Displaced()
        shares.check(tx, caller, self._pending)
        free = request.after_seconds <= 0 and not (thread_id and statements.has_active(tx, on))
        if starter is not None and free:
            run = replace(run, status=RunStatus.running, attempt=1, worker_id=starter.worker_id)
        else:
            shares.check_room(tx, caller, self._pending)
        statements.add(tx, run)
        told = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
        threads.begin_run(tx, on, {**metadata, **told}, at)
        return Admitted(run, displaced)

    def _named(
        self, tx: Tx, caller: Caller, request: RunRequest, assistant: Assistant, named: names.Named
    ) -> Admitted:
        """The run of an earlier call. One that is gone is shown as admitted, while its log is there."""
        run = statements.get(tx, None, named.run_id)
        if run is not None:
            return Admitted(run, known=True)
        run = run_plan.plan(request, named.run_id, named.thread_id, assistant, {}, caller, temporary=True)
        return Admitted(run, known=True, gone=True)

    def _free_id(self, tx: Tx, request: RunRequest, used: bool) -> str:
        if request.run_id is None:
            return new_id()
        if used or statements.get(tx, None, request.run_id):
            raise Conflict(f"run_id: there is a run {request.run_id} already")
        return request.run_id

    def _stillborn(self, tx: Tx, run: Run, reason: str) -> Admitted:
        """A run whose cancel came first: it has ended when it is admitted, and its thread is not touched."""
        enqueue_unstarted(tx, run, "interrupt", reason)
        run = replace(
            run, status=RunStatus.interrupted, reason=reason, error=cancelled("interrupt", reason).error
        )
        ended = Ended.of(tx, run, run.status, reason)
        if run.temporary:
            threads.remove(tx, run.thread_id)
        else:
            statements.add(tx, run)
        return Admitted(run, Displaced(ended=[ended]))

    def _thread_for(self, tx: Tx, thread_id: str | None, request: RunRequest) -> tuple[str, Json]:
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

        Raises NotFound for a run that is unknown or has ended (contract/runs.md 14). Of a cancel that came
        before its run, whose name the client chose, it is remembered that the run must not begin.
        """
        found = await self._database.read(lambda tx: statements.get(tx, thread_id, run_id))
        if found is None and not await self._cancel_early(caller, thread_id, run_id):
            raise NotFound("No runs found to cancel.")
        reason = f"interrupt requested via POST /threads/{thread_id}/runs/{run_id}/cancel"
        if not await self.stop(thread_id, run_id, action, reason):
            raise NotFound(NOTHING_TO_CANCEL)
        await self._broker.ended(run_id, STOP_WAIT_SECONDS if wait else 2 * STOP_SECONDS)

    async def _cancel_early(self, caller: Caller, thread_id: str, run_id: str) -> bool:
        """Remember the cancel of a run that is not there, unless it was. Whether it is there by now."""
        over = await self._broker.thread_of(run_id) is not None

        def work(tx: Tx) -> bool:
            lock(tx, f"run:{run_id}")
            run = statements.get(tx, None, run_id)
            known = over or run or names.get(tx, caller.identity, f"run {run_id}")
            if not known and names.count_early_cancels(tx, EARLY_CANCELS_MAX) < EARLY_CANCELS_MAX:
                names.cancel_early(tx, run_id, "cancelled before it was created", now())
            return run is not None and run.thread_id == thread_id

        return await self._database.write(work)

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

    async def page(self, caller: Caller, thread_id: str, page: RunPage) -> list[Run]:
        """The runs of a thread, newest first. Raises NotFound for the thread."""

        def work(tx: Tx) -> list[Run]:
            if not threads.exists(tx, thread_id):
                raise missing(thread_id)
            return statements.page(tx, thread_id, page)

        return await self._database.read(work)
