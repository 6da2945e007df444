"""Threads on the wire (contract/resources.md 4.1)."""

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from ...models import Thread
from ...streaming.encode import raw
from .base import Body, Metadata, UuidText


class ThreadCreate(Body):
    """The body of POST /threads."""

    thread_id: UuidText | Literal[""] | None = None
    metadata: Metadata = Field(default_factory=dict)
    if_exists: Literal["raise", "do_nothing"] = "raise"
    supersteps: list[dict[str, Any]] | None = None
    ttl: dict[str, Any] | None = None

    @field_validator("supersteps", "ttl")
    @classmethod
    def _not_yet(cls, value: Any) -> Any:
        if value:
            raise ValueError("not supported by this version")
        return value


class ThreadView(BaseModel):
    """A thread as clients see it."""

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: dict[str, Any]
    status: Literal["idle", "busy", "interrupted", "error"]
    config: dict[str, Any]
    values: Any
    error: dict[str, Any] | None
    interrupts: dict[str, Any]


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
