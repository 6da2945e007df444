"""The outbox of webhooks: what the end of a run leaves to be told, and the log of how the telling went."""

from dataclasses import replace

import httpx
import structlog

from ..clock import after, new_id, now
from ..errors import NotFound
from ..models import Caller, Delivery, DeliveryStatus, Json, Outcome, Run, RunStatus
from ..storage import deliveries as statements
from ..storage import runs
from ..storage.database import Database, Tx
from ..streaming.encode import encode, raw
from .authorization import OPEN, Authorization
from .endings import cancelled

_log = structlog.get_logger(__name__)

PENDING_MAX = 20_000  # deliveries that may wait; what is told beyond them is told to nobody, and logged
DOCUMENT_BYTES_MAX = 4 * 2**20  # the most of `values` and of `interrupts` that is sent
PER_RUN_MAX = 100
KEEP_SECONDS = 86_400.0  # how long the log of what is over can be read
FORGET_MAX = 500  # rows a transaction: others wait for it
# Of kwargs, what holds nothing that anybody typed: input, command and context may, and config does.
_HARMLESS = (
    "stream_mode",
    "interrupt_before",
    "interrupt_after",
    "temporary",
    "subgraphs",
    "resumable",
    "checkpoint_during",
    "durability",
)
_MASKED = "the text of this error is not sent: read the run"


def enqueue(tx: Tx, run: Run, outcome: Outcome, at: str) -> None:
    """In the transaction that ends a run: note whom to tell of it, and what. Nothing without a webhook.

    `run` is as it was before its end; a running one was last changed when it was started.
    """
    if run.webhook is None:
        return
    if statements.count_pending(tx, PENDING_MAX) >= PENDING_MAX:
        _log.error("a webhook is dropped: too many wait", run_id=run.run_id, waiting=PENDING_MAX)
        return
    body, url = encode(_document(run, outcome, at)), _normal(run.webhook)
    pending = DeliveryStatus.pending
    delivery = Delivery(new_id(), run.run_id, run.thread_id, run.identity, url, body, pending, [], at, at, at)
    statements.add(tx, delivery)


def enqueue_unstarted(tx: Tx, run: Run, action: str, reason: str) -> None:
    """`enqueue` for a run that was cancelled while it waited, by `interrupt` or `rollback`."""
    enqueue(tx, run, cancelled(action, reason), now())


def _document(run: Run, outcome: Outcome, at: str) -> Json:
    """The final run as its receiver sees it (contract/runs.md 19), without secrets (reliability I3)."""
    document = {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "metadata": run.metadata,
        "status": outcome.status,
        "kwargs": {key: run.kwargs[key] for key in _HARMLESS if key in run.kwargs},
        "multitask_strategy": run.multitask_strategy,
        "created_at": max(run.created_at, run.due_at),
        "updated_at": at,
        "langsmith_session_name": None,
        "reason": outcome.reason,
        "attempt": run.attempt,
        "run_started_at": run.updated_at if run.status is RunStatus.running else None,
        "run_ended_at": at,
    }
    if outcome.error is not None and outcome.status is not RunStatus.success:
        document["error"] = _safe(outcome)
    # A rollback leaves nothing of the run behind: nothing of it is told either.
    made = {
        "values": None if outcome.rollback else outcome.values,
        "interrupts": outcome.returned_interrupts or b"[]",
    }
    omitted = [name for name, data in made.items() if data is not None and len(data) > DOCUMENT_BYTES_MAX]
    for name, data in made.items():
        document[name] = None if data is None or name in omitted else raw(data)
    return {**document, "omitted": omitted} if omitted else document


def _safe(outcome: Outcome) -> Json:
    """The error: its text only where the server itself wrote it, an exception's may hold anything."""
    assert outcome.error is not None
    return {**outcome.error, "message": _MASKED} if outcome.status is RunStatus.error else outcome.error


def _normal(url: str) -> str:
    """The URL with a path, so that all of one origin begin alike."""
    parsed = httpx.URL(url)
    return str(parsed.copy_with(raw_path=parsed.raw_path, fragment=None))


class Deliveries:
    """The log of webhooks, for those whose runs they tell of."""

    def __init__(self, database: Database, authorization: Authorization = OPEN) -> None:
        self._database = database
        self._authorization = authorization

    async def of_run(self, caller: Caller, thread_id: str, run_id: str) -> list[Delivery]:
        """The caller's deliveries of a run, also when the run is gone. Raises NotFound for an unknown run."""

        value: Json = {"thread_id": thread_id, "run_id": run_id}
        scope = await self._authorization.ask(caller, "threads", "read", value)

        def work(tx: Tx) -> list[Delivery]:
            found = statements.of_run(tx, thread_id, run_id, caller.identity, PER_RUN_MAX)
            if not found and runs.get(tx, thread_id, run_id, scope) is None:
                raise NotFound(f"Run with ID {run_id} not found")
            return found

        return await self._database.read(work)


class Outbox:
    """The same rows for those who send. No caller stands behind these: the admission asked for leave."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, most: int, in_hand: list[str], full: list[str]) -> tuple[list[Delivery], str | None]:
        """What is to be sent now, but not what is `in_hand` nor what goes to origins that are `full`; and
        when something more becomes due."""
        at = now()  # one time for both questions: between two, something could become due unseen

        def work(tx: Tx) -> tuple[list[Delivery], str | None]:
            return statements.due(tx, at, most, in_hand, full), statements.next_due(tx, at)

        return await self._database.read(work)

    async def record(self, delivery: Delivery, tried: Json, again_in: float | None, *, taken: bool) -> None:
        """Note a try: taken by the receiver, or to be made again in some seconds, or else given up."""
        ended = DeliveryStatus.delivered if taken else DeliveryStatus.failed
        status = ended if again_in is None else DeliveryStatus.pending
        due_at = delivery.due_at if again_in is None else after(again_in)
        tried_now = replace(delivery, status=status, tries=[*delivery.tries, tried], due_at=due_at)
        await self._database.write(lambda tx: statements.record(tx, tried_now, now()))

    async def forget(self) -> None:
        """Delete what has been over for a day."""
        before = after(-KEEP_SECONDS)
        while await self._database.write(lambda tx: statements.forget(tx, before, FORGET_MAX)) >= FORGET_MAX:
            pass
