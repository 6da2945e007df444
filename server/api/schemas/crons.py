"""Crons on the wire (contract/resources.md 7)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from ...rules.crons import Cron, CronQuery
from .base import NAMES_MAX, Body, Metadata, Sorted, UuidText
from .meta import Timestamp, Uuid
from .runs import RunSettings

Column = Literal[
    "cron_id",
    "assistant_id",
    "thread_id",
    "user_id",
    "end_time",
    "schedule",
    "timezone",
    "payload",
    "next_run_date",
    "metadata",
    "on_run_completed",
    "enabled",
    "created_at",
    "updated_at",
]
Order = Literal[
    "cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"
]
Schedule = Annotated[str, StringConstraints(max_length=256)]
Short = Annotated[str, StringConstraints(max_length=64)]
AssistantName = Annotated[str, StringConstraints(min_length=1)]

_SCHEDULE = "Minute, hour, day, month, weekday; seconds and years may follow; docs/crons.md"
_ASSISTANT = "An assistant's UUID or a graph's name"


class CronPatch(RunSettings):
    """A change of a cron; what is absent stays as it is."""

    nullable = RunSettings.nullable | {"end_time"}

    schedule: Schedule | None = Field(default=None, description=_SCHEDULE)
    timezone: Short | None = Field(default=None, description="The IANA's name of its zone; UTC without one")
    end_time: Short | None = Field(
        default=None, description="No run from then on; ISO 8601, in UTC if it names no zone; null: no end"
    )
    enabled: bool = Field(default=True, description="Whether it runs at all")
    on_run_completed: Literal["delete", "keep"] = Field(
        default="delete", description="What becomes of the thread of a run that has one of its own"
    )

    def said(self) -> dict[str, Any]:
        """What was said, for the services; nothing of what was not."""
        return self.model_dump(exclude_unset=True)


class CronCreate(CronPatch):
    """A new cron."""

    schedule: Schedule = Field(description=_SCHEDULE)
    assistant_id: AssistantName = Field(description=_ASSISTANT)


class CronFilter(Body):
    """Which crons."""

    metadata: Metadata = Field(default_factory=dict, description="What theirs must contain")
    assistant_id: AssistantName | None = Field(default=None, description=_ASSISTANT)
    thread_id: UuidText | None = Field(default=None, description="The thread that they are bound to")
    enabled: bool | None = Field(default=None, description="Only those that run, or only the others")

    def to_query(self) -> CronQuery:
        """The query for the services."""
        return CronQuery(self.metadata, self.assistant_id, self.thread_id, self.enabled)


class CronSearch(CronFilter, Sorted):
    """Which crons, how many, in which order."""

    sort_by: Order | None = Field(
        default=None,
        description="What they are sorted by; without it by `created_at`. What has no end ends last",
    )
    select: list[Column] = Field(
        default_factory=list, max_length=NAMES_MAX, description="Only these fields; without any all"
    )


class CronView(BaseModel):
    """A cron as clients see it."""

    cron_id: Uuid = Field(description="The id of the cron")
    assistant_id: Uuid = Field(description="The assistant that its runs use")
    thread_id: Uuid | None = Field(description="The thread of its runs; null: each has one of its own")
    user_id: str = Field(description="Who made it; its runs are made in that name")
    end_time: str | None = Field(description="When it ends, as it was said")
    schedule: str = Field(description="When it runs")
    timezone: str | None = Field(description="The zone of the schedule; null: UTC")
    payload: dict[str, Any] = Field(description="All that was said of it and its runs")
    next_run_date: Timestamp | None = Field(description="When it is due next; null: never again")
    metadata: dict[str, Any] = Field(description="The caller's own, also on its runs")
    on_run_completed: Literal["delete", "keep"] | None = Field(
        description="What becomes of a run's own thread; null for crons that are bound to one"
    )
    enabled: bool = Field(description="Whether it runs at all")
    created_at: Timestamp = Field(description="When it was made")
    updated_at: Timestamp = Field(description="When it was last changed")


def cron_view(cron: Cron) -> dict[str, Any]:
    """The JSON of a cron, its keys in the order of the contract; the next date without a fraction."""
    return {
        "cron_id": cron.cron_id,
        "assistant_id": cron.assistant_id,
        "thread_id": cron.thread_id,
        "user_id": cron.identity,
        "end_time": cron.end_time,
        "schedule": cron.schedule,
        "timezone": cron.timezone,
        "payload": cron.payload,
        "next_run_date": cron.next_run_date and cron.next_run_date.replace(".000000", ""),
        "metadata": cron.metadata,
        "on_run_completed": cron.on_run_completed,
        "enabled": cron.enabled,
        "created_at": cron.created_at,
        "updated_at": cron.updated_at,
    }
