"""Runs on the wire (contract/runs.md 3 and 4)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ...models import Run, RunRequest, RunSelection, RunStatus
from .base import NAMES_MAX, Body, Metadata, UuidText

StreamMode = Literal[
    "values", "updates", "messages", "messages-tuple", "custom", "debug", "tasks", "checkpoints", "events"
]
MODES_MAX = 16
AFTER_SECONDS_MAX = 30 * 86_400
RECURSION_MAX = 10_000

Names = Literal["*"] | Annotated[list[str], Field(max_length=NAMES_MAX)]


class Send(Body):
    """A node to run and its input."""

    node: str
    input: Any = None


class Command(Body):
    """What to tell the graph instead of new input: answer, update, where to go (contract/runs.md 11)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    nullable = frozenset({"resume"})

    update: dict[str, Any] | list[Annotated[list[Any], Field(min_length=2, max_length=2)]] | None = None
    resume: Any = None
    goto: str | Send | list[str] | list[Send] | None = Field(default=None, union_mode="left_to_right")

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

    tags: list[str] | None = Field(default=None, max_length=NAMES_MAX)
    recursion_limit: int | None = Field(default=None, ge=1, le=RECURSION_MAX)
    configurable: dict[str, Any] | None = None
    metadata: Metadata | None = None


class Checkpoint(Body):
    """Where to fork from. `thread_id` is ignored: the path's holds."""

    checkpoint_id: UuidText | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: dict[str, Any] | None = None


class RunCreate(Body):
    """The body of every call that starts a run (contract/runs.md 4)."""

    nullable = frozenset({"input"})

    assistant_id: str = Field(min_length=1, description="An assistant's UUID or a graph's name")
    input: Any = Field(default=None, description="The graph's input; null continues from the checkpoint")
    command: Command | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: UuidText | None = None
    config: Config = Config()
    context: dict[str, Any] = Field(default_factory=dict)
    metadata: Metadata = Field(default_factory=dict)
    stream_mode: StreamMode | list[StreamMode] = "values"
    stream_subgraphs: bool = False
    stream_resumable: bool = Field(
        default=False, description="Every stream is resumable; accepted for clients"
    )
    interrupt_before: Names | None = None
    interrupt_after: Names | None = None
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"] = "enqueue"
    if_not_exists: Literal["create", "reject"] = "reject"
    on_disconnect: Literal["cancel", "continue"] = "continue"
    on_completion: Literal["delete", "keep"] = "delete"
    after_seconds: float = Field(default=0, le=AFTER_SECONDS_MAX)
    durability: Literal["sync", "async", "exit"] | None = None
    checkpoint_during: bool | None = Field(default=None, deprecated=True)
    feedback_keys: list[str] | None = Field(default=None, max_length=NAMES_MAX)
    langsmith_tracer: dict[str, Any] | None = None
    run_id: UuidText | None = Field(
        default=None, description="The client's own id for the run; repeating the call returns the same run"
    )
    webhook: str | None = Field(
        default=None, min_length=1, max_length=65_536, description="Told how the run ended; docs/webhooks.md"
    )

    @field_validator("stream_mode")
    @classmethod
    def _few_modes(cls, value: str | list[str]) -> str | list[str]:
        if isinstance(value, list) and len(value) > MODES_MAX:
            raise ValueError(f"at most {MODES_MAX} stream modes")
        return value

    def to_request(self) -> RunRequest:
        """The request for the services."""
        modes = [self.stream_mode] if isinstance(self.stream_mode, str) else self.stream_mode
        return RunRequest(
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


class RunsCancel(Body):
    """Which runs to cancel: `thread_id` with `run_ids`, or `status`, one of the two."""

    thread_id: UuidText | None = None
    run_ids: Annotated[list[UuidText], Field(min_length=1, max_length=NAMES_MAX)] | None = None
    status: Literal["pending", "running", "all"] | None = None

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
    """A run as clients see it (contract/runs.md 3); `error` and `reason` say how it ended."""

    run_id: str
    thread_id: str
    assistant_id: str
    metadata: dict[str, Any]
    status: Literal["pending", "running", "success", "error", "timeout", "interrupted"]
    kwargs: dict[str, Any]
    multitask_strategy: str
    created_at: str
    updated_at: str
    langsmith_session_name: str | None = None
    error: dict[str, Any] | None = None
    reason: str | None = None
    attempt: int = 0


COLUMNS = (*RunView.model_fields,)


def admitted_view(run: Run) -> dict[str, Any]:
    """The JSON of a run that was just admitted: pending, though it may have begun (contract/runs.md 3)."""
    return {**run_view(run), "status": RunStatus.pending if run.status.active else run.status}


def run_view(run: Run) -> dict[str, Any]:
    """The JSON of a run. A delayed run shows the time it is due as its creation, as the reference does."""
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "metadata": run.metadata,
        "status": run.status,
        "kwargs": run.kwargs,
        "multitask_strategy": run.multitask_strategy,
        "created_at": max(run.created_at, run.due_at),
        "updated_at": run.updated_at,
        "langsmith_session_name": None,
        "error": run.error,
        "reason": run.reason,
        "attempt": run.attempt,
    }
