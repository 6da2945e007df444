"""States on the wire (contract/resources.md 5)."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema

from ...graph.snapshots import VALUE
from ...models import HistoryRequest, Place, StateChange, StateRequest
from .base import NAMES_MAX, Body, Metadata, UuidText
from .meta import InterruptView, Timestamp
from .runs import Checkpoint

HISTORY_MAX = 1_000
NAME_MAX = 1_000


class CheckpointView(BaseModel):
    """Where a checkpoint lies."""

    thread_id: str = Field(description="The thread")
    checkpoint_ns: str = Field(default="", description="The namespace of a subgraph; empty for the root")
    checkpoint_id: str | None = Field(
        default=None, description="The checkpoint; null where there is none yet"
    )
    checkpoint_map: dict[str, Any] | None = Field(
        default=None, description="The checkpoints of the graphs around it, by namespace"
    )


class TaskView(BaseModel):
    """A node that is to run next, or ran in this step."""

    id: str = Field(description="The id of the task")
    name: str = Field(description="The node")
    path: list[Any] = Field(description="Why it runs, in LangGraph's words")
    error: str | None = Field(description="The exception that it raised, as Python shows it")
    interrupts: list[InterruptView] = Field(description="What it asks")
    checkpoint: CheckpointView | None = Field(description="Where the state of its subgraph lies")
    state: "StateView | None" = Field(description="The state of its subgraph, with `subgraphs`")
    result: Any = Field(description="What it wrote")


class StateView(BaseModel):
    """The state of a thread."""

    values: Any = Field(description="The values of its channels")
    next: list[str] = Field(description="The nodes that would run next")
    tasks: list[TaskView] = Field(description="What is to run, or failed, or asks")
    metadata: dict[str, Any] | None = Field(description="Of the checkpoint: its source, step, run and more")
    created_at: Timestamp | None = Field(description="When the checkpoint was made")
    checkpoint: CheckpointView | None = Field(description="Where it lies")
    parent_checkpoint: CheckpointView | None = Field(description="Where the one before lies")
    interrupts: list[InterruptView] = Field(description="All that the tasks ask")
    checkpoint_id: str | None = Field(description="The id of the checkpoint once more, for older clients")
    parent_checkpoint_id: str | None = Field(description="The id of the one before")


FIELDS = (*StateView.model_fields,)
SELECTING = "Only these fields, `values.<key>` being one of the values; without any all"


def is_field(name: str) -> bool:
    """Whether a state has such a field, or may have such a value: `values.<key>`."""
    return name in FIELDS or (name.startswith(VALUE) and name != VALUE)


def _field(name: str) -> str:
    if not is_field(name):
        raise ValueError(f"not among {', '.join(FIELDS)}, values.<key>")
    return name


def _checkpoint_id(value: Any) -> Any:
    """The id that a checkpoint or a config names; SDKs send all three forms (contract/resources.md 5.2)."""
    if not isinstance(value, dict):
        return value
    inner = value.get("configurable", value)
    found = inner.get("checkpoint_id") if isinstance(inner, dict) else None
    if found is None:
        raise ValueError("names no checkpoint_id")
    return found


Select = Annotated[list[Annotated[str, AfterValidator(_field)]], Field(max_length=NAMES_MAX)]
Before = Annotated[
    UuidText,
    BeforeValidator(_checkpoint_id),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "uuid"}, {"type": "object"}],
            "description": "A checkpoint's id, a checkpoint, or a config with one",
        }
    ),
]


def _place(checkpoint: Checkpoint | None, checkpoint_id: str | None = None) -> Place:
    """`checkpoint` wins over `checkpoint_id`."""
    if checkpoint is None:
        return Place(checkpoint_id=checkpoint_id)
    return Place(checkpoint.checkpoint_ns or "", checkpoint.checkpoint_id)


class StateRead(Body):
    """Which state to read: one checkpoint's, else the latest of a namespace."""

    checkpoint: Checkpoint = Field(description="Which; an empty one is the latest")
    subgraphs: bool = Field(default=False, description="Whether to show the states of subgraphs in the tasks")
    select: Select = Field(default_factory=list, description=SELECTING)

    def to_request(self) -> StateRequest:
        """The request for the services."""
        return StateRequest(_place(self.checkpoint), self.subgraphs, tuple(self.select))


class HistoryRead(Body):
    """Which states of the past to read."""

    limit: int = Field(default=1, ge=1, le=HISTORY_MAX, description="How many at most")
    before: Before | None = Field(default=None, description="Only states before this checkpoint")
    metadata: Metadata = Field(default_factory=dict, description="What theirs must contain")
    checkpoint: Checkpoint | None = Field(default=None, description="Only of this subgraph, or only this one")
    select: Select = Field(default_factory=list, description=SELECTING)

    def to_request(self) -> HistoryRequest:
        """The request for the services."""
        return HistoryRequest(
            self.limit, _place(self.checkpoint), self.before, self.metadata, tuple(self.select)
        )


class StateUpdate(Body):
    """What to write into the state, as which node, beginning at which checkpoint."""

    nullable = frozenset({"values"})

    values: dict[str, Any] | list[Any] | None = Field(
        default=None, description="What the node returned; null only lets its edges decide what is next"
    )
    as_node: str | None = Field(
        default=None, min_length=1, max_length=NAME_MAX, description="The node; else the last one that wrote"
    )
    checkpoint: Checkpoint | None = Field(default=None, description="Where to begin, also in a subgraph")
    checkpoint_id: UuidText | None = Field(default=None, description="The same; `checkpoint` wins")

    def to_change(self) -> StateChange:
        """The change for the services."""
        return StateChange(self.values, self.as_node, _place(self.checkpoint, self.checkpoint_id))


class StateUpdated(BaseModel):
    """Where the new state lies, in the two forms that clients read."""

    checkpoint: CheckpointView = Field(description="The new checkpoint")
    configurable: CheckpointView = Field(description="The same, as a config has it")
    checkpoint_id: str = Field(description="Its id")
