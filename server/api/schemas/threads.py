"""Threads on the wire (contract/resources.md 4)."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from ...models import METADATA_BYTES_MAX, Json, Thread, ThreadStatus
from ...rules.threads import (
    Amount,
    Extract,
    NewThread,
    PruneStrategy,
    ThreadFields,
    ThreadQuery,
    ThreadUsage,
    Ttl,
    Write,
)
from ...streaming.encode import raw
from .. import extracts
from ..paging import selected
from .base import NAMES_MAX, Body, Metadata, Sorted, UuidText, storable
from .meta import Timestamp, Uuid
from .runs import Command

MINUTES_MAX = 100 * 365 * 24 * 60
SUPERSTEPS_MAX = 1_000
EXTRACTS_MAX = 10

Field_ = Literal[
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "config",
    "context",  # which threads do not have, but clients name
    "status",
    "values",
    "interrupts",
    "error",
]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,100}$")]


def _can_be_parsed(path: str) -> str:
    extracts.parse(path)
    return path


class ThreadTtl(Body):
    """How long a thread lives after its last change."""

    ttl: float = Field(gt=0, le=MINUTES_MAX, allow_inf_nan=False, description="Minutes")
    strategy: PruneStrategy = Field(
        default=PruneStrategy.delete,
        strict=False,
        description="What goes then: the thread, or its past so that its latest state is left",
    )

    def to_ttl(self) -> Ttl:
        """The TTL for the services."""
        return Ttl(self.strategy, self.ttl)


class SuperstepUpdate(Body):
    """What one node did in a superstep."""

    values: Any = Field(default=None, description="What it returned")
    command: Command | None = Field(default=None, description="Or a command that it returned")
    as_node: str = Field(min_length=1, max_length=1_000, description="Which node; `__input__` is none")

    def to_write(self) -> Write:
        """The update for the services."""
        return Write(self.as_node, self.values, self.command.said() if self.command else None)


class Superstep(Body):
    """What several nodes did at the same time; one checkpoint."""

    updates: list[SuperstepUpdate] = Field(
        min_length=1, max_length=NAMES_MAX, description="One for each node that did something"
    )


class ThreadCreate(Body):
    """A new thread."""

    thread_id: UuidText | Literal[""] | None = Field(
        default=None, description="The caller's own id; without one, or if it is empty, one is made"
    )
    metadata: Metadata = Field(
        default_factory=dict, description="The caller's own; `graph_id` names the graph of its state"
    )
    if_exists: Literal["raise", "do_nothing"] = Field(
        default="raise", description="Whether an id that exists is refused, or answered as it is"
    )
    supersteps: list[Superstep] = Field(
        default_factory=list,
        max_length=SUPERSTEPS_MAX,
        description="Its past, in order: all of it is written or nothing, also to a thread that exists",
    )
    ttl: ThreadTtl | None = Field(default=None, description="Without it the server's default, or for ever")

    def to_new(self) -> NewThread:
        """The thread for the services."""
        return NewThread(
            self.thread_id or None,
            self.metadata,
            self.if_exists,
            self.ttl.to_ttl() if self.ttl else None,
            tuple(tuple(update.to_write() for update in step.updates) for step in self.supersteps),
        )


class ThreadPatch(Body):
    """A change of a thread; its time to live begins anew in any case."""

    metadata: Metadata = Field(default_factory=dict, description="Merged key by key with what is there")
    ttl: ThreadTtl | None = Field(default=None, description="How long it lives from now on")


class ThreadFilter(Body):
    """Which threads: all that these describe."""

    metadata: Metadata = Field(default_factory=dict, description="What theirs must contain")
    values: Annotated[Json, storable(METADATA_BYTES_MAX)] = Field(
        default_factory=dict, description="What the values of their state must contain"
    )
    status: ThreadStatus | None = Field(default=None, strict=False, description="Their status")
    ids: list[UuidText] = Field(
        default_factory=list, max_length=NAMES_MAX, description="Only among these; empty: among all"
    )

    def to_query(self) -> ThreadQuery:
        """The query for the services."""
        return ThreadQuery(tuple(self.ids), self.metadata, self.values, self.status)


class ThreadSearch(ThreadFilter, Sorted):
    """Which threads, how many, in which order, and what of them."""

    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] | None = Field(
        default=None, description="What they are sorted by; without it by `updated_at`"
    )
    select: list[Field_] = Field(
        default_factory=list, max_length=NAMES_MAX, description="Only these fields; without any all"
    )
    extract: dict[Alias, Annotated[str, AfterValidator(_can_be_parsed)]] = Field(
        default_factory=dict,
        max_length=EXTRACTS_MAX,
        description="Parts of values, metadata, config and interrupts to show under `extracted`, by names "
        "for them: `values.messages[-1].content`. What is not there is null",
    )

    def to_fields(self) -> ThreadFields:
        """What to show, for the services."""
        places: dict[str, Extract] = {alias: extracts.parse(path) for alias, path in self.extract.items()}
        return ThreadFields(tuple(self.select), places)


class ThreadsPrune(Body):
    """Threads to throw away, or their past."""

    thread_ids: list[UuidText] = Field(
        max_length=NAMES_MAX, description="Which threads; those that are not there are passed over"
    )
    strategy: PruneStrategy = Field(
        default=PruneStrategy.delete,
        strict=False,
        description="What goes: the threads, or all but their latest state, of those that are not busy",
    )


class ThreadsPruned(BaseModel):
    """What was thrown away."""

    pruned_count: int = Field(ge=0, description="Of how many threads")


class TtlView(BaseModel):
    """How long a thread lives."""

    strategy: Literal["delete", "keep_latest"] = Field(description="What goes then")
    ttl_minutes: float = Field(description="Minutes after its last change")
    expires_at: Timestamp = Field(description="When that will be if it does not change")


class ThreadView(BaseModel):
    """A thread as clients see it."""

    thread_id: Uuid = Field(description="Its id")
    created_at: Timestamp = Field(description="When it was made")
    updated_at: Timestamp = Field(description="When it changed in any way")
    state_updated_at: Timestamp = Field(description="When its state changed")
    metadata: dict[str, Any] = Field(
        description="The caller's own; `graph_id` and `assistant_id` are those of the last run"
    )
    status: Literal["idle", "busy", "interrupted", "error"] = Field(
        description="What it does: nothing, run, wait for an answer, or nothing since a run failed"
    )
    config: dict[str, Any] = Field(description="Always empty: what configures a run stays with it")
    values: Any = Field(description="The values of its state; null before there are any")
    error: dict[str, Any] | None = Field(description="How the last run failed, if it did")
    interrupts: dict[str, Any] = Field(description="What waits for an answer: task id -> questions")
    ttl: TtlView | None = Field(default=None, description="With `include=ttl`, if it does not live for ever")
    extracted: dict[str, Any] | None = Field(default=None, description="What `extract` of a search named")


class UsageView(BaseModel):
    """So many of something, and the bytes they take."""

    count: int = Field(ge=0, description="How many")
    bytes: int = Field(ge=0, description="How large they are together")


class VersionsView(BaseModel):
    """What the values of one channel take."""

    versions: int = Field(ge=0, description="How many versions of it there are")
    bytes: int = Field(ge=0, description="How large its values are in all checkpoints together")


class ChannelsView(UsageView):
    """What the values of all channels take."""

    by_channel: dict[str, VersionsView] = Field(description="Each channel by its name")


class ThreadStorageView(BaseModel):
    """What a thread takes in the database, each byte counted once."""

    thread_id: Uuid = Field(description="Its id")
    total_bytes: int = Field(ge=0, description="All of it")
    checkpoints: UsageView = Field(description="The checkpoints without their values")
    channel_values: ChannelsView = Field(description="The values in them")
    pending_writes: UsageView = Field(description="What tasks wrote beside them")


_RAW = ("values", "interrupts")


def thread_view(thread: Thread, ttl: Ttl | None = None) -> dict[str, Any]:
    """The JSON of a thread, its keys in the order of the contract."""
    found = _view({name: getattr(thread, name) for name in ThreadView.model_fields if hasattr(thread, name)})
    if ttl is not None:
        found["ttl"] = {
            "strategy": ttl.strategy,
            "ttl_minutes": ttl.minutes,
            "expires_at": ttl.expires_at,
        }
    return found


def row_view(row: Json, select: Iterable[str]) -> dict[str, Any]:
    """The JSON of what a search found of a thread; `extracted` is shown whatever is selected."""
    found = selected(_view(row), [*select])
    if "extracted" in row:
        found["extracted"] = {alias: raw(value) for alias, value in row["extracted"].items()}
    return found


def _view(row: Json) -> dict[str, Any]:
    found = {name: row[name] for name in ThreadView.model_fields if name in row and name != "extracted"}
    for name in _RAW:
        if found.get(name) is not None:
            found[name] = raw(found[name])
    return found


def storage_view(thread_id: str, usage: ThreadUsage) -> dict[str, Any]:
    """The JSON of what a thread takes."""
    channels = usage.by_channel.values()
    values = Amount(sum(each.count for each in channels), sum(each.bytes for each in channels))
    return {
        "thread_id": thread_id,
        "total_bytes": usage.checkpoints.bytes + values.bytes + usage.pending_writes.bytes,
        "checkpoints": _amount(usage.checkpoints),
        "channel_values": {
            **_amount(values),
            "by_channel": {
                name: {"versions": each.count, "bytes": each.bytes} for name, each in usage.by_channel.items()
            },
        },
        "pending_writes": _amount(usage.pending_writes),
    }


def _amount(amount: Amount) -> dict[str, int]:
    return {"count": amount.count, "bytes": amount.bytes}
