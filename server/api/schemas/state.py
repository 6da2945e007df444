"""States on the wire (contract/resources.md 5)."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema

from ...graph.snapshots import VALUE
from ...models import HistoryRequest, Place, StateChange, StateRequest
from .base import NAMES_MAX, Body, Metadata, UuidText
from .runs import Checkpoint

HISTORY_MAX = 1_000
NAME_MAX = 1_000


class StateView(BaseModel):
    """The state of a thread; with `select` only what was asked for."""

    values: Any
    next: list[str]
    tasks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    created_at: str | None
    checkpoint: dict[str, Any] | None
    parent_checkpoint: dict[str, Any] | None
    interrupts: list[dict[str, Any]]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None


FIELDS = (*StateView.model_fields,)


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

    checkpoint: Checkpoint
    subgraphs: bool = False
    select: Select = Field(default_factory=list)

    def to_request(self) -> StateRequest:
        """The request for the services."""
        return StateRequest(_place(self.checkpoint), self.subgraphs, tuple(self.select))


class HistoryRead(Body):
    """Which states of the past to read."""

    limit: int = Field(default=1, ge=1, le=HISTORY_MAX)
    before: Before | None = None
    metadata: Metadata = Field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    select: Select = Field(default_factory=list)

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
    as_node: str | None = Field(default=None, min_length=1, max_length=NAME_MAX)
    checkpoint: Checkpoint | None = None
    checkpoint_id: UuidText | None = None

    def to_change(self) -> StateChange:
        """The change for the services."""
        return StateChange(self.values, self.as_node, _place(self.checkpoint, self.checkpoint_id))


class StateUpdated(BaseModel):
    """Where the new state lies, in the two forms that clients read."""

    checkpoint: dict[str, Any]
    configurable: dict[str, Any]
    checkpoint_id: str
