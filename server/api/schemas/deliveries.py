"""Webhooks on the wire (docs/webhooks.md)."""

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from ...models import Delivery, DeliveryStatus
from .meta import Timestamp, Uuid


class TryView(BaseModel):
    """One try: the status of the answer, or what went wrong instead; and how long it took."""

    at: Timestamp = Field(description="When it began")
    status: int | None = Field(description="The HTTP status that the receiver answered")
    error: str | None = Field(description="What went wrong without an answer")
    ms: int = Field(description="Milliseconds that it took")


class DeliveryView(BaseModel):
    """A webhook of a run as its caller sees it."""

    delivery_id: Uuid = Field(description="The id of this delivery, which the receiver sees as `webhook-id`")
    run_id: Uuid = Field(description="The run that it tells of")
    thread_id: Uuid = Field(description="The thread of that run")
    url: str = Field(description="The receiver, without the query, which may hold a key")
    status: Literal["pending", "delivered", "failed"] = Field(
        description="To be sent (again), taken by its receiver, given up"
    )
    tries: list[TryView] = Field(description="How the tries went, the oldest first")
    next_try_at: Timestamp | None = Field(description="When it is tried again, if it is")
    created_at: Timestamp = Field(description="When the run ended")
    updated_at: Timestamp = Field(description="When it was last tried")


def delivery_view(delivery: Delivery) -> dict[str, Any]:
    """The JSON of a delivery."""
    waits = delivery.status is DeliveryStatus.pending
    return {
        "delivery_id": delivery.delivery_id,
        "run_id": delivery.run_id,
        "thread_id": delivery.thread_id,
        "url": urlsplit(delivery.url)._replace(query="", fragment="").geturl(),
        "status": delivery.status,
        "tries": delivery.tries,
        "next_try_at": delivery.due_at if waits else None,
        "created_at": delivery.created_at,
        "updated_at": delivery.updated_at,
    }
