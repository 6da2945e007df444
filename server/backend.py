"""A running server without its doors: what they call, what they read, what limits them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from .auth.authenticator import Authenticator
from .models import Json
from .rules.limits import RequestLimits
from .services import Services
from .streaming.broker import Broker
from .streaming.sse import Rhythm
from .telemetry.levels import Levels
from .telemetry.meters import Meters
from .telemetry.tracing import Tracing


class Readiness(Protocol):
    """Whether requests should be sent here."""

    async def check(self) -> None:
        """Raises NotReady, which says why not."""


class Observed(Protocol):
    """What the server can tell of itself to those who watch it."""

    @property
    def meters(self) -> Meters:
        """What was counted."""

    async def levels(self) -> Levels:
        """What there is now."""


class Work(Protocol):
    """Whoever executes runs in this process."""

    @property
    def draining(self) -> bool:
        """Whether it begins none any more."""

    async def drain(self, grace_seconds: float) -> None:
        """Begin none any more; returns when none is executed any more."""

    def lend(self, run_id: str) -> AbstractContextManager[None]:
        """While entered, let others use the slot of a run, which waits for what one of them answers."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Where everybody has to say who he is, but at the `public` paths; how, is told in the `openapi` part."""

    authenticator: Authenticator
    public: frozenset[str]
    openapi: Json


@dataclass(frozen=True, slots=True)
class Backend:
    """Made by `wiring`, used by every door; sizes in bytes, times in seconds."""

    services: Services
    work: Work
    broker: Broker
    health: Readiness
    graph_ids: Sequence[str]
    rhythm: Rhythm
    body_bytes_max: int
    send_timeout_seconds: float
    shutdown_grace_seconds: float
    info: Json
    observed: Observed | None  # None: nothing is counted
    access_log: bool
    limits: RequestLimits
    tracing: Tracing | None  # None: nothing is traced
    gate: Gate | None = None  # None: nobody is asked

    @property
    def draining(self) -> bool:
        """Whether the server is about to stop: it begins no run any more."""
        return self.work.draining

    async def drain(self) -> None:
        """Let runs come to an end within the grace; then cut all other streams, to be resumed elsewhere."""
        await self.work.drain(self.shutdown_grace_seconds)
        self.broker.cut()
