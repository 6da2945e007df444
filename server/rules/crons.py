"""The noun of crons: what one is, which ones somebody asks for, when one is due."""

from dataclasses import dataclass, field

from ..models import Caller, Json


@dataclass(frozen=True, slots=True)
class Cron:
    """A run that is made again and again (contract/resources.md 7).

    `payload` is what was said of its runs, as the wire shows it. `identity`, `permissions` and `user` are
    those of who made the cron: in his name its runs are made.
    """

    cron_id: str
    assistant_id: str
    thread_id: str | None  # None: each run has a thread of its own
    schedule: str
    timezone: str | None
    end_time: str | None  # as it was said
    ends_at: str | None  # the same in UTC
    payload: Json
    metadata: Json
    on_run_completed: str | None
    enabled: bool
    next_run_date: str | None  # None: never again
    due_at: str | None  # when to see to that; later than the date when it could not be done
    created_at: str
    updated_at: str
    identity: str = ""
    permissions: list[str] = field(default_factory=list)
    user: Json | None = None
    trusted: bool = False

    @property
    def caller(self) -> Caller:
        """In whose name its runs are made."""
        return Caller(self.identity, tuple(self.permissions), self.user, trusted=self.trusted)


@dataclass(frozen=True, slots=True)
class CronQuery:
    """Which crons: all that these describe."""

    metadata: Json = field(default_factory=dict)
    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class CronLimits:
    """The least distance of two ticks in seconds, and how many crons one caller may have."""

    interval_seconds_min: int
    per_identity: int


@dataclass(frozen=True, slots=True)
class Tick:
    """One time at which a cron is due."""

    cron_id: str
    at: str
