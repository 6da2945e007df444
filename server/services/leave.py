"""The leave to start a run: the handlers of authorisation are asked before the transaction that admits it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..clock import new_id
from ..models import Caller, Json, RunRequest
from ..rules.access import EVERYTHING, Scope
from ..storage import threads
from ..storage.database import Tx
from .authorization import Authorization, metadata_in, stamp
from .resolution import id_of, to_run
from .threads import missing


@dataclass(frozen=True, slots=True)
class Leave:
    """What may be started: the request as the handlers left it, and within what it finds its thread and
    assistant. `stamp` is what they put into metadata: a thread that is made for the run bears it too."""

    request: RunRequest
    run_id: str
    threads: Scope = EVERYTHING
    assistants: Scope = EVERYTHING
    stamp: Json = field(default_factory=dict)
    asked: bool = False  # whether the run must be known as the caller's also when its thread is gone

    def check_thread(self, tx: Tx, thread_id: str) -> None:
        """Raises NotFound for a thread that is there, but not for this caller."""
        there = self.threads and threads.exists(tx, thread_id)
        if there and not threads.exists(tx, thread_id, self.threads):
            raise missing(thread_id)


async def leave_to_run(
    authorization: Authorization,
    caller: Caller,
    thread_id: str | None,
    request: RunRequest,
    graph_ids: Sequence[str],
) -> Leave:
    """Ask for it. Raises what `Authorization.ask` raises, Invalid for an assistant that is none."""
    run_id = request.run_id or new_id()
    if not authorization.asks or caller.trusted:
        return Leave(request, run_id)
    assistant_id = id_of(request.assistant_id, graph_ids)
    value = _value(thread_id, assistant_id, run_id, request)
    scope = await authorization.ask(caller, "threads", "create_run", value)
    told = metadata_in(value)
    assistants = await authorization.ask(caller, "assistants", "read", {"assistant_id": assistant_id})
    if thread_id is not None:
        scope &= await authorization.ask(caller, "threads", "read", {"thread_id": thread_id})
    return Leave(
        replace(request, metadata=told),
        run_id,
        scope,
        to_run(request.assistant_id, graph_ids, assistants),
        stamp(request.metadata, told),
        asked=True,
    )


def _value(thread_id: str | None, assistant_id: str, run_id: str, request: RunRequest) -> Json:
    return {
        "thread_id": thread_id,
        "assistant_id": assistant_id,
        "run_id": run_id,
        "status": "pending",
        "metadata": dict(request.metadata),
        "prevent_insert_if_inflight": request.multitask_strategy == "reject",
        "multitask_strategy": request.multitask_strategy,
        "if_not_exists": request.if_not_exists,
        "after_seconds": request.after_seconds,
        "kwargs": {
            "input": request.input,
            "command": request.command,
            "checkpoint": request.checkpoint,
            "config": request.config,
            "context": request.context,
            "stream_mode": list(request.stream_mode),
            "interrupt_before": request.interrupt_before,
            "interrupt_after": request.interrupt_after,
            "webhook": request.webhook,
            "feedback_keys": request.feedback_keys,
            "temporary": thread_id is None and request.on_completion == "delete",
            "subgraphs": request.stream_subgraphs,
            "resumable": request.stream_resumable,
        },
    }
