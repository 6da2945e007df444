"""Rules of runs, as callers meet them: admit, read. A run is its row and its log. Cancels: `stopping.py`."""

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
    RunStatus,
)
from ..storage import names, threads
from ..storage import runs as statements
from ..storage.database import Database, Tx
from ..storage.locks import lock, lock_thread
from ..streaming.broker import Broker
from ..streaming.signals import Signals
from . import naming, run_plan, shares
from .admission import (
    Displaced,
    Ended,
    admit,
    refuse_second_answer,
    tell,
)
from .authorization import OPEN, Authorization
from .deliveries import enqueue_unstarted
from .endings import cancelled
from .leave import Leave, leave_to_run
from .resolution import resolve
from .starter import Starter
from .stopping import Stopping
from .threads import missing, new_thread
from .webhook_policy import WebhookPolicy


@dataclass(frozen=True, slots=True)
class Admitted:
    """A run that a call asked for. `known`: an earlier call of the same name had made it."""

    run: Run
    displaced: Displaced = field(default_factory=Displaced)
    known: bool = False
    gone: bool = False  # known, but only its log may tell of it any more


class Runs(Stopping):
    """The runs of this server, for every door and for the worker."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        signals: Signals,
        graph_ids: Sequence[str],
        pending: PendingLimits,
        webhooks: WebhookPolicy,
        authorization: Authorization = OPEN,
    ) -> None:
        super().__init__(database, broker, signals, authorization)
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
        thread_metadata: Json | None = None,
    ) -> Run:
        """Admit a run; it is durable when this returns. Without a thread a hidden one is made.

        What `first` does stands in the same transaction: it happens with the run or not at all. A thread that
        is made for the run has `thread_metadata`.

        A call that is repeated under the same name (`run_id`, `idempotency_key`) returns the run it made.
        Raises Invalid, Contradiction, NotFound (thread or assistant), Conflict (busy and `reject`, a second
        answer, a taken name), Overloaded, TooMany (contract/runs.md 4, 13, 16, 18).
        """
        run_plan.check(request, stateless=thread_id is None)
        (request,) = await self._webhooks.admitted(request)
        leave = await self._leave_to(caller, thread_id, request)
        used = await self._used(request)
        starter = self._starter if self._starter is not None and self._starter.reserve() else None

        def work(tx: Tx) -> Admitted:
            if thread_id is not None:
                lock_thread(tx, thread_id)
                leave.check_thread(tx, thread_id)
            if first is not None:
                first(tx)
            return self._admit(tx, caller, thread_id, leave, used, starter, thread_metadata)

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

        leaves = [await self._leave_to(caller, None, request) for request in requests]
        used = [await self._used(request) for request in requests]

        def work(tx: Tx) -> list[Admitted]:
            return [
                self._admit(tx, caller, None, leave, taken, None)
                for leave, taken in zip(leaves, used, strict=True)
            ]

        found = await self._database.write(work)
        for admitted in found:
            await self._hand_over(admitted, None)
        return [admitted.run for admitted in found]

    async def _leave_to(self, caller: Caller, thread_id: str | None, request: RunRequest) -> Leave:
        return await leave_to_run(self._authorization, caller, thread_id, request, self._graph_ids)

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
        leave: Leave,
        used: bool,
        starter: Starter | None,
        thread_metadata: Json | None = None,
    ) -> Admitted:
        """On a thread that is locked. How many may wait is counted without a lock: some more may slip in."""
        request = leave.request
        if request.run_id is not None:
            lock(tx, f"run:{request.run_id}")  # against its own early cancel
        assistant = resolve(tx, request.assistant_id, self._graph_ids, leave.assistants)
        if (named := naming.known(tx, caller, thread_id, request)) is not None:
            return self._named(tx, caller, request, assistant, named)
        run_id, at = self._free_id(tx, leave, used), now()
        of_new = {**(thread_metadata or {}), **leave.stamp}
        on, metadata = self._thread_for(tx, caller, thread_id, leave, of_new)
        naming.remember(tx, caller, thread_id, request, run_id, on)
        if thread_id:
            refuse_second_answer(tx, on, request)
        temporary = thread_id is None and request.on_completion == "delete"
        run = run_plan.plan(request, run_id, on, assistant, metadata, caller, temporary)
        if leave.asked and temporary:
            naming.remember_maker(tx, caller, run_id, on)
        if request.run_id and (reason := names.take_early_cancel(tx, run_id, caller.identity)) is not None:
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

    def _free_id(self, tx: Tx, leave: Leave, used: bool) -> str:
        if leave.request.run_id is not None and (used or statements.get(tx, None, leave.run_id)):
            raise Conflict(f"run_id: there is a run {leave.run_id} already")
        return leave.run_id

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

    def _thread_for(
        self, tx: Tx, caller: Caller, thread_id: str | None, leave: Leave, of_new: Json
    ) -> tuple[str, Json]:
        """(thread id, its metadata); made where the request allows it."""
        known = None if thread_id is None else threads.metadata_of(tx, thread_id, leave.threads)
        if thread_id is not None and known is not None:
            return thread_id, known
        if thread_id is not None and leave.request.if_not_exists != "create":
            raise missing(thread_id)
        thread = new_thread(thread_id or new_id(), of_new, caller.identity)
        threads.add(tx, thread)
        return thread.thread_id, thread.metadata

    async def get(self, caller: Caller, thread_id: str, run_id: str) -> Run:
        """One run of a thread. Raises NotFound."""
        scope = await self._authorization.ask(caller, "threads", "read", {"thread_id": thread_id})
        run = await self._database.read(lambda tx: statements.get(tx, thread_id, run_id, scope))
        if run is None:
            raise NotFound(f"Run with ID {run_id} not found")
        return run

    async def page(self, caller: Caller, thread_id: str, page: RunPage) -> list[Run]:
        """The runs of a thread, newest first. Raises NotFound for the thread."""

        scope = await self._authorization.ask(caller, "threads", "read", {"thread_id": thread_id})
        value: Json = {"thread_id": thread_id, "metadata": {}}
        scope &= await self._authorization.ask(caller, "threads", "search", value)

        def work(tx: Tx) -> list[Run]:
            if not threads.exists(tx, thread_id, scope):
                raise missing(thread_id)
            return statements.page(tx, thread_id, page)

        return await self._database.read(work)
