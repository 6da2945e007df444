"""Runs on the wire (contract/runs.md 3 and 4)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...models import Run, RunRequest, RunSelection, RunStatus
from ...rules.masking import masked
from ...telemetry.tracing import traceparent
from .base import NAMES_MAX, Body, Metadata, UuidText
from .meta import Failure, Timestamp, Uuid
from .results import KwargsView

StreamMode = Literal[
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "custom",
    "debug",
    "tasks",
    "checkpoints",
    "events",
    "tools",
    "lifecycle",
]
MODES_MAX = 16
StreamModes = Annotated[list[StreamMode], Field(max_length=MODES_MAX)]
AFTER_SECONDS_MAX = 30 * 86_400
RECURSION_MAX = 10_000

Names = Literal["*"] | Annotated[list[str], Field(max_length=NAMES_MAX)]


class Send(Body):
    """A node to run and its input."""

    node: str = Field(description="The node")
    input: Any = Field(default=None, description="What it gets instead of the state")


class Command(Body):
    """What to tell the graph instead of new input: answer, update, where to go (contract/runs.md 11)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    nullable = frozenset({"resume"})

    update: dict[str, Any] | list[Annotated[list[Any], Field(min_length=2, max_length=2)]] | None = Field(
        default=None, description="Values to write into the state; pairs of key and value will do"
    )
    resume: Any = Field(default=None, description="The answer to an interrupt, or `{id: answer}`; never null")
    goto: str | Send | list[str] | list[Send] | None = Field(
        default=None, union_mode="left_to_right", description="Nodes to run next"
    )

    @model_validator(mode="before")
    @classmethod
    def _answer_is_not_null(cls, value: Any) -> Any:
        if isinstance(value, dict) and "resume" in value and value["resume"] is None:
            said = {key for key, item in value.items() if item is not None}
            if not said and set(value) == {"resume"}:
                raise ValueError("resume must not be null: null is not an answer")
            return {key: item for key, item in value.items() if key != "resume"}
        return value

    def said(self) -> dict[str, Any] | None:
        """What it asks for; None for nothing: clients send empty fields (contract/clients.md 3.2)."""
        fields = self.model_dump(exclude_unset=True)
        empty = {name for name in ("goto", "update") if not fields.get(name)}
        return {name: value for name, value in fields.items() if name not in empty} or None


class Config(Body):
    """A RunnableConfig; keys beside these are kept."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    tags: list[str] | None = Field(default=None, max_length=NAMES_MAX, description="For traces")
    recursion_limit: int | None = Field(
        default=None, ge=1, le=RECURSION_MAX, description="How many steps at most"
    )
    configurable: dict[str, Any] | None = Field(
        default=None, description="The graph's own settings; names of the server in it are dropped"
    )
    metadata: Metadata | None = Field(default=None, description="Like the metadata of the run")


class Checkpoint(Body):
    """Where to fork from. `thread_id` is ignored: the path's holds."""

    checkpoint_id: UuidText | None = Field(default=None, description="The checkpoint; without it the latest")
    checkpoint_ns: str | None = Field(default=None, description="The namespace of a subgraph")
    checkpoint_map: dict[str, Any] | None = Field(default=None, description="The checkpoints around it")


class RunSettings(Body):
    """What may be said of a run by whatever makes one: a call, a cron (contract/runs.md 4)."""

    nullable = frozenset({"input"})

    input: Any = Field(default=None, description="The graph's input; null continues from the checkpoint")
    config: Config = Field(default=Config(), description="Merged over the assistant's")
    context: dict[str, Any] = Field(
        default_factory=dict, description="Merged over the assistant's; not with config.configurable"
    )
    metadata: Metadata = Field(default_factory=dict, description="The caller's own, also on checkpoints")
    stream_mode: StreamMode | StreamModes = Field(default="values", description="What its stream tells of")
    stream_subgraphs: bool = Field(default=False, description="Whether it tells of subgraphs too")
    stream_resumable: bool = Field(
        default=False, description="Every stream is resumable; accepted for clients"
    )
    interrupt_before: Names | None = Field(default=None, description="Nodes to stop before; `*`: every one")
    interrupt_after: Names | None = Field(default=None, description="Nodes to stop after; `*`: every one")
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"] = Field(
        default="enqueue",
        description="On a busy thread: refuse this run, undo or stop the other, or wait for its end",
    )
    durability: Literal["sync", "async", "exit"] | None = Field(
        default=None, description="When states are saved: before the next step, beside it, at the end only"
    )
    checkpoint_during: bool | None = Field(
        default=None, deprecated=True, description="Use `durability`: false is `exit`"
    )
    webhook: str | None = Field(
        default=None, min_length=1, max_length=65_536, description="Told how the run ended; docs/webhooks.md"
    )


class RunCreate(RunSettings):
    """The body of every call that starts a run (contract/runs.md 4)."""

    assistant_id: str = Field(min_length=1, description="An assistant's UUID or a graph's name")
    command: Command | None = Field(default=None, description="What to tell the graph instead of input")
    checkpoint: Checkpoint | None = Field(default=None, description="Where to fork from")
    checkpoint_id: UuidText | None = Field(default=None, description="The same; `checkpoint` wins")
    if_not_exists: Literal["create", "reject"] = Field(
        default="reject", description="Whether a thread that does not exist is made"
    )
    on_disconnect: Literal["cancel", "continue"] = Field(
        default="continue", description="What becomes of the run when this client goes away"
    )
    on_completion: Literal["delete", "keep"] = Field(
        default="delete", description="What becomes of the hidden thread of a stateless run"
    )
    after_seconds: float = Field(
        default=0, le=AFTER_SECONDS_MAX, description="Seconds before it may begin, up to 30 days"
    )
    feedback_keys: list[str] | None = Field(
        default=None, max_length=NAMES_MAX, description="Accepted without effect"
    )
    langsmith_tracer: dict[str, Any] | None = Field(default=None, description="Accepted without effect")
    run_id: UuidText | None = Field(
        default=None, description="The client's own id for the run; repeating the call returns the same run"
    )

    def to_request(self) -> RunRequest:
        """The request for the services."""
        modes = [self.stream_mode] if isinstance(self.stream_mode, str) else self.stream_mode
        return RunRequest(
            traceparent=traceparent.get(),
            assistant_id=self.assistant_id,
            input=self.input,
            command=None if self.command is None else self.command.said(),
            checkpoint=self._checkpoint(),
            config=self.config.model_dump(exclude_unset=True),
            context=self.context,
            metadata=self.metadata,
            stream_mode=tuple(dict.fromkeys(modes)) or ("values",),
            stream_subgraphs=self.stream_subgraphs,
            stream_resumable=self.stream_resumable,
            interrupt_before=self.interrupt_before,
            interrupt_after=self.interrupt_after,
            multitask_strategy=self.multitask_strategy,
            if_not_exists=self.if_not_exists,
            on_disconnect=self.on_disconnect,
            on_completion=self.on_completion,
            after_seconds=self.after_seconds,
            durability=self._durability(),
            feedback_keys=self.feedback_keys,
            webhook=self.webhook,
            run_id=self.run_id,
        )

    def _durability(self) -> str:
        if self.durability is not None:
            return self.durability
        return "exit" if self.checkpoint_during is False else "async"

    def _checkpoint(self) -> dict[str, Any] | None:
        """`checkpoint` wins over `checkpoint_id`."""
        if self.checkpoint is not None:
            return self.checkpoint.model_dump(exclude_none=True)
        return None if self.checkpoint_id is None else {"checkpoint_id": self.checkpoint_id}


_WAYS: Any = [{"required": ["thread_id", "run_ids"]}, {"required": ["status"]}]


class RunsCancel(Body):
    """Which runs to cancel: `thread_id` with `run_ids`, or `status`, one of the two."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _WAYS})

    thread_id: UuidText | None = Field(default=None, description="The thread of the runs")
    run_ids: Annotated[list[UuidText], Field(min_length=1, max_length=NAMES_MAX)] | None = Field(
        default=None, description="The runs; those that are over or gone are passed over"
    )
    status: Literal["pending", "running", "all"] | None = Field(
        default=None, description="All runs that wait, all that run, or both"
    )

    @model_validator(mode="after")
    def _one_way(self) -> "RunsCancel":
        named = self.thread_id is not None and self.run_ids is not None
        partly = (self.thread_id is None) != (self.run_ids is None)
        if partly or named == (self.status is not None):
            raise ValueError("give either status, or thread_id with run_ids")
        return self

    def to_selection(self) -> RunSelection:
        """The selection for the services."""
        if self.status is None:
            return RunSelection(self.thread_id, tuple(self.run_ids or ()))
        statuses = RunSelection().statuses if self.status == "all" else (RunStatus(self.status),)
        return RunSelection(statuses=statuses)


class RunView(BaseModel):
    """A run as clients see it (contract/runs.md 3)."""

    run_id: Uuid = Field(description="Its id")
    thread_id: Uuid = Field(description="Its thread; a hidden one of a stateless run")
    assistant_id: Uuid = Field(description="The assistant, also where a graph was named")
    metadata: dict[str, Any] = Field(description="Of the assistant, the thread and the caller; later wins")
    status: Literal["pending", "running", "success", "error", "timeout", "interrupted"] = Field(
        description="`interrupted`: somebody made it end. One that waits for an answer is a `success`"
    )
    kwargs: KwargsView = Field(description="What it was told")
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"] = Field(
        description="What it does on a busy thread"
    )
    created_at: Timestamp = Field(description="When it was made; of a delayed run when it is due")
    updated_at: Timestamp = Field(description="When its status last changed")
    langsmith_session_name: str | None = Field(description="Always null")
    error: Failure | None = Field(description="Why it failed, or that it was stopped")
    reason: str | None = Field(description="Who made it end, and how")
    attempt: int = Field(ge=0, description="How often it was begun")


COLUMNS = (*RunView.model_fields,)


def admitted_view(run: Run) -> dict[str, Any]:
    """The JSON of a run that was just admitted: pending, though it may have begun (contract/runs.md 3)."""
    return {**run_view(run), "status": RunStatus.pending if run.status.active else run.status}


def _kwargs_view(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What a run was told, without the server's own of it, and its settings without secrets."""
    shown = {key: masked(kwargs[key]) if key == "context" else kwargs[key] for key in kwargs}
    shown.pop("traceparent", None)
    if (config := kwargs.get("config")) and config.get("configurable"):
        shown["config"] = {**config, "configurable": masked(config["configurable"])}
    return shown


def run_view(run: Run) -> dict[str, Any]:
    """The JSON of a run. A delayed run shows the time it is due as its creation, as the reference does."""
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "metadata": run.metadata,
        "status": run.status,
        "kwargs": _kwargs_view(run.kwargs),
        "multitask_strategy": run.multitask_strategy,
        "created_at": max(run.created_at, run.due_at),
        "updated_at": run.updated_at,
        "langsmith_session_name": None,
        "error": run.error,
        "reason": run.reason,
        "attempt": run.attempt,
    }
