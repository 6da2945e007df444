"""What callers say of threads: how they begin, which they look for, how long they and their past are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..models import Json, ThreadStatus


class PruneStrategy(StrEnum):
    """What goes: the thread with all it has, or its past, so that its latest state is left."""

    delete = "delete"
    keep_latest = "keep_latest"


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long a thread lives after its last change, and what happens then (contract/resources.md 4.2).

    `expires_at` is when, as far as is known now; "" before it is stored.
    """

    strategy: PruneStrategy
    minutes: float
    expires_at: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """One update of a superstep: what the node returned, plain or as a command."""

    as_node: str
    values: Any = None
    command: Json | None = None


@dataclass(frozen=True, slots=True)
class NewThread:
    """A thread that is to be. Supersteps are written into it in their order, each a checkpoint."""

    thread_id: str | None = None
    metadata: Json = field(default_factory=dict)
    if_exists: str = "raise"
    ttl: Ttl | None = None
    supersteps: tuple[tuple[Write, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ThreadQuery:
    """Which threads: all that these describe; what is empty describes all."""

    ids: tuple[str, ...] = ()
    metadata: Json = field(default_factory=dict)
    values: Json = field(default_factory=dict)
    status: ThreadStatus | None = None


@dataclass(frozen=True, slots=True)
class Extract:
    """A place in one of a thread's documents: `values.messages[-1].content`. None leads nowhere."""

    document: str
    steps: tuple[str | int, ...] | None


@dataclass(frozen=True, slots=True)
class ThreadFields:
    """What to show of a thread: these fields, without any all; and some places, by the names for them."""

    select: tuple[str, ...] = ()
    extract: Mapping[str, Extract] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Keep:
    """Which checkpoints of a thread are kept: so many of the newest, those of so many days; None is all.

    The newest is always kept, and what it needs.
    """

    checkpoints: int | None = None
    days: float | None = None


LATEST = Keep(checkpoints=1)


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """`checkpointer` of langgraph.json: what is thrown away by itself, and how often that is looked after."""

    default_ttl: Ttl | None = None
    keep: Keep | None = None
    sweep_seconds: float = 300.0
    sweep_limit: int = 1_000  # threads a sweep


@dataclass(frozen=True, slots=True)
class Amount:
    """So many of something, and the bytes they take."""

    count: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ThreadUsage:
    """What a thread takes in the database (contract/resources.md 4.2), each byte counted once.

    `by_channel` has the number of versions of each channel beside the bytes that its values take in all
    checkpoints; `checkpoints` is what is left of those.
    """

    checkpoints: Amount
    by_channel: Mapping[str, Amount]
    pending_writes: Amount
