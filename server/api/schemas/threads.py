"""Threads on the wire (contract/resources.md 4.1)."""

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from ...models import Thread
from ...streaming.encode import raw
from .base import Body, Metadata, UuidText
from .meta import Timestamp, Uuid


class ThreadCreate(Body):
    """The body of POST /threads."""

    thread_id: UuidText | Literal[""] | None = Field(default=None, description="The caller's own id")
    metadata: Metadata = Field(default_factory=dict, description="The caller's own")
    if_exists: Literal["raise", "do_nothing"] = Field(
        default="raise", description="Whether an id that exists is refused, or answered as it is"
    )
    supersteps: list[dict[str, Any]] | None = Field(default=None, description="Its past; not supported yet")
    ttl: dict[str, Any] | None = Field(default=None, description="How long it lives; not supported yet")

    @field_validator("supersteps", "ttl")
    @classmethod
    def _not_yet(cls, value: Any) -> Any:
        if value:
            raise ValueError("not supported by this version")
        return value


class ThreadView(BaseModel):
    """A thread as clients see it."""

    thread_id: Uuid = Field(description="Its id")
    created_at: Timestamp = Field(description="When it was made")
    updated_at: Timestamp = Field(description="When it changed in any way")
    state_updated_at: Timestamp = Field(description="When its state changed")
    metadata: dict[str, Any] = Field(description="The caller's own, with those of the last run")
    status: Literal["idle", "busy", "interrupted", "error"] = Field(description="What it does")
    config: dict[str, Any] = Field(description="Always empty: what configures a run stays with it")
    values: Any = Field(description="The values of its state; null before there are any")
    error: dict[str, Any] | None = Field(description="How the last run failed, if it did")
    interrupts: dict[str, Any] = Field(description="What waits for an answer: task id -> questions")


def thread_view(thread: Thread) -> dict[str, Any]:
    """The JSON of a thread, its keys in the order of the contract."""
    return {
        "thread_id": thread.thread_id,
        "created_at": thread.created_at,
        "updated_at": thread.updated_at,
        "state_updated_at": thread.state_updated_at,
        "metadata": thread.metadata,
        "status": thread.status,
        "config": thread.config,
        "values": None if thread.values is None else raw(thread.values),
        "error": thread.error,
        "interrupts": raw(thread.interrupts),
    }
