"""What a new run will execute with: assistant, thread and request merged (contract/runs.md 3 and 4)."""

from ..clock import after, now
from ..errors import Contradiction, Invalid
from ..models import Assistant, Caller, Json, Run, RunRequest, RunStatus
from ..rules.users import stored

BOTH = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in "
    "LangGraph 0.6.0 and is the long term planned replacement for configurable."
)
# Set by the server alone. A thread id smuggled in here was a hole elsewhere (reliability S2).
_OWN = frozenset(
    {
        "thread_id",
        "run_id",
        "assistant_id",
        "graph_id",
        "checkpoint_ns",
        "checkpoint_map",
        "langgraph_request_id",
    }
)
_PREFIXES = ("__", "langgraph_auth_")


def check(request: RunRequest, *, stateless: bool = False) -> None:
    """Raises Contradiction for `context` beside `config.configurable`, and for an answer without a thread."""
    if request.context and request.config.get("configurable"):
        raise Contradiction(BOTH)
    if stateless and request.command and request.command.get("resume") is not None:
        raise Contradiction("You must provide a thread_id when resuming.")


def plan(
    request: RunRequest,
    run_id: str,
    thread_id: str,
    assistant: Assistant,
    thread_metadata: Json,
    caller: Caller,
    temporary: bool,
) -> Run:
    """The row of the new run. Later wins: assistant, thread, server, the caller's config, the caller."""
    at = now()
    told = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    asked = {**request.config.get("metadata", {}), **request.metadata}
    metadata = {**assistant.metadata, **thread_metadata, **told, **asked}
    own = {"run_id": run_id, "thread_id": thread_id, **told, **_caller_keys(caller)}
    if request.cron_id is not None:
        own["cron_id"] = request.cron_id
    config, context = _settings(request, assistant, own)
    return Run(
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        status=RunStatus.pending,
        metadata=metadata,
        kwargs=_kwargs(request, {**config, "metadata": metadata}, context, temporary),
        multitask_strategy=request.multitask_strategy,
        created_at=at,
        updated_at=at,
        due_at=after(request.after_seconds) if request.after_seconds > 0 else at,
        identity=caller.identity,
    )


def _settings(request: RunRequest, assistant: Assistant, own: Json) -> tuple[Json, Json]:
    """(config, context): context and configurable mirror each other, whichever was given."""
    said = _settled(request.config.get("configurable", {}), own)
    configurable = {
        "user_id": "",
        **_settled(assistant.config.get("configurable", {}), own),
        **(said or _settled(request.context, own)),
        **_settled(request.headers, own),  # a gateway sets these, so they win
    }
    context = {**assistant.context, **(_public(request.context) or said)}
    config = {**assistant.config, **request.config, "configurable": {**configurable, **own}}
    return config, context


def user_keys(configurable: Json) -> Json:
    """What is the user's own of a configuration: nothing that only the server may say."""
    return {key: value for key, value in _public(configurable).items() if key not in _OWN}


def _settled(configurable: Json, own: Json) -> Json:
    """The user's own, and not `user_id` where the server knows who asks."""
    return {key: value for key, value in user_keys(configurable).items() if key not in own}


def _public(settings: Json) -> Json:
    return {key: value for key, value in settings.items() if not key.startswith(_PREFIXES)}


def _caller_keys(caller: Caller) -> Json:
    """Who asks, as the graph will know it (contract/resources.md 10.1)."""
    return {
        **({"user_id": caller.identity} if caller.identity else {}),
        "langgraph_auth_user": kept(caller),
        "langgraph_auth_user_id": caller.identity,
        "langgraph_auth_permissions": list(caller.permissions),
        "langgraph_request_id": caller.request_id,
    }


def kept(caller: Caller) -> Json | None:
    """The user as he is kept with what runs in his name. Raises Invalid."""
    try:
        return stored(caller.user)
    except (TypeError, ValueError) as wrong:
        raise Invalid(f"The user cannot be kept with a run: {wrong}") from None


def _kwargs(request: RunRequest, config: Json, context: Json, temporary: bool) -> Json:
    return {
        "input": request.input,
        "command": request.command,
        "checkpoint": request.checkpoint,
        "config": config,
        "context": context,
        "stream_mode": list(request.stream_mode),
        "interrupt_before": request.interrupt_before,
        "interrupt_after": request.interrupt_after,
        "webhook": request.webhook,
        "feedback_keys": request.feedback_keys,
        "temporary": temporary,
        "subgraphs": request.stream_subgraphs,
        "resumable": request.stream_resumable,
        "checkpoint_during": request.durability != "exit",
        "durability": request.durability,
        **({"traceparent": request.traceparent} if request.traceparent else {}),
    }
