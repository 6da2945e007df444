"""The nouns. Frozen values that travel between the layers; JSON values are plain dicts and lists."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Any

Json = dict[str, Any]
Network = IPv4Network | IPv6Network

METADATA_BYTES_MAX = 64 * 1024  # as JSON (reliability A7)


class RunStatus(StrEnum):
    """Status of a run on the wire (contract/runs.md 3). "interrupted" means cancelled."""

    pending = "pending"
    running = "running"
    success = "success"
    error = "error"
    timeout = "timeout"
    interrupted = "interrupted"

    @property
    def active(self) -> bool:
        return self in (RunStatus.pending, RunStatus.running)


class ThreadStatus(StrEnum):
    """Status of a thread on the wire (contract/runs.md 17)."""

    idle = "idle"
    busy = "busy"
    interrupted = "interrupted"
    error = "error"


class DeliveryStatus(StrEnum):
    """Where a webhook stands: to be sent (again), taken by its receiver, given up."""

    pending = "pending"
    delivered = "delivered"
    failed = "failed"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Without authentication everyone is the same nobody. `trusted` is the server's own code."""

    identity: str = ""
    permissions: tuple[str, ...] = ()
    user: Mapping[str, Any] | None = None
    request_id: str = ""
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One entry of `graphs` in langgraph.json (contract/resources.md 12)."""

    graph_id: str
    target: str  # "./path/file.py:variable" or "package.module:variable"
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Assistant:
    """A graph with settings under an id of its own (contract/resources.md 3.1)."""

    assistant_id: str
    graph_id: str
    name: str
    description: str | None
    config: Json
    context: Json
    metadata: Json
    version: int
    created_at: str
    updated_at: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class AssistantChange:
    """What a caller says of an assistant; None is what he leaves as it is."""

    graph_id: str | None = None
    config: Json | None = None
    context: Json | None = None
    metadata: Json | None = None
    name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class AssistantQuery:
    """Which assistants: all that these describe. `name` is a part of the name, in whatever case."""

    metadata: Json = field(default_factory=dict)
    graph_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list, in which order (contract/resources.md 1.3). `sort_by` is a field's name."""

    limit: int = 10
    offset: int = 0
    sort_by: str | None = None
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Thread:
    """The state of one conversation as its row shows it (contract/resources.md 4.1).

    `values` and `interrupts` hold what users' graphs made: JSON as bytes, never decoded on its way through
    the server. `values` is None before the first run.
    """

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: Json
    status: ThreadStatus
    config: Json
    values: bytes | None
    error: Json | None
    interrupts: bytes = b"{}"
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a graph on a thread: the job itself, not a message about one (contract/runs.md 3)."""

    run_id: str
    thread_id: str
    assistant_id: str
    graph_id: str
    status: RunStatus
    metadata: Json
    kwargs: Json
    multitask_strategy: str
    created_at: str
    updated_at: str
    due_at: str = ""
    attempt: int = 0
    error: Json | None = None
    stop: str | None = None  # how: interrupt, rollback, delete; keep or drop, of what its model had said
    reason: str | None = None
    handovers: int = 0
    identity: str = ""
    worker_id: str | None = None

    @property
    def temporary(self) -> bool:
        """Whether the run and its hidden thread vanish at its end (contract/runs.md 16)."""
        return bool(self.kwargs.get("temporary"))

    @property
    def webhook(self) -> str | None:
        """Whom to tell when the run has ended."""
        return self.kwargs.get("webhook")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a caller may say about a run, validated at the door (contract/runs.md 4)."""

    assistant_id: str
    input: Any = None
    command: Json | None = None
    checkpoint: Json | None = None
    config: Json = field(default_factory=dict)
    context: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    stream_mode: tuple[str, ...] = ("values",)
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    interrupt_before: str | list[str] | None = None
    interrupt_after: str | list[str] | None = None
    multitask_strategy: str = "enqueue"
    if_not_exists: str = "reject"
    on_disconnect: str = "continue"
    on_completion: str = "delete"
    after_seconds: float = 0
    durability: str = "async"
    feedback_keys: list[str] | None = None
    webhook: str | None = None
    run_id: str | None = None  # the name that the client gives the run
    idempotency_key: str | None = None
    arrived_at: str = ""  # when the call came in
    traceparent: str = ""  # the span that asks (W3C Trace Context)
    cron_id: str | None = None  # which cron asks
    headers: Json = field(default_factory=dict)  # of the call, for `configurable`: http.configurable_headers


@dataclass(frozen=True, slots=True)
class PendingLimits:
    """How many runs may wait: in all, and of one caller; and how many of one may wait or run, 0: all."""

    total: int
    per_identity: int
    active_per_identity: int = 0


@dataclass(frozen=True, slots=True)
class RunPage:
    """Which runs of a thread to list."""

    limit: int = 10
    offset: int = 0
    status: RunStatus | None = None


@dataclass(frozen=True, slots=True)
class RunSelection:
    """Active runs to cancel: some of a thread by id, or all in these states."""

    thread_id: str | None = None
    run_ids: tuple[str, ...] = ()
    statuses: tuple[RunStatus, ...] = (RunStatus.pending, RunStatus.running)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a thread a state lies: the newest of a namespace ("" is the root's), or at one checkpoint."""

    namespace: str = ""
    checkpoint_id: str | None = None


@dataclass(frozen=True, slots=True)
class StateRequest:
    """Which state to read and which fields of it; without a place the newest, without fields all."""

    place: Place | None = None
    subgraphs: bool = False
    select: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Which states of the past to read, newest first; those whose metadata contain `metadata`."""

    limit: int
    place: Place = Place()
    before: str | None = None
    metadata: Json = field(default_factory=dict)
    select: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StateChange:
    """What to write into a state, as if `as_node` had returned it; None is langgraph's choice."""

    values: Any
    as_node: str | None = None
    place: Place = Place()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended and what it left behind, all of it JSON in bytes where graphs made it."""

    status: RunStatus
    thread_status: ThreadStatus
    values: bytes | None = None
    interrupts: bytes = b"{}"
    error: Json | None = None
    reason: str | None = None
    returned_interrupts: bytes | None = None  # what `wait` returns as __interrupt__
    rollback: bool = False  # leave nothing of the run behind
    deleted: bool = False  # it ends because its thread goes


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """Where webhooks may go and what they carry: `webhooks` of langgraph.json (contract/resources.md 12).

    An empty list of domains or ports allows all. Addresses that are not public are called only where
    `loopback` or `networks` says so.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold keys
    require_https: bool = False
    allowed_domains: tuple[str, ...] = ()  # lower case; "*.x" is every name below x
    allowed_ports: tuple[int, ...] = ()
    url_length_max: int = 65_536
    loopback: bool = False
    networks: tuple[Network, ...] = ()
    sent: bool = True  # False: this server sends none, and runs go on without theirs


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook in the outbox: what is told to whom, and how the tries went, the oldest first.

    Each try is `{at, status, error, ms}`: the HTTP status of the answer, or what went wrong instead.
    """

    delivery_id: str
    run_id: str
    thread_id: str
    identity: str
    url: str
    body: bytes
    status: DeliveryStatus
    tries: list[Json]
    due_at: str
    created_at: str
    updated_at: str
