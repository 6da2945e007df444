"""Webhooks on the wire (docs/webhooks.md)."""

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel

from ...models import Delivery, DeliveryStatus


class TryView(BaseModel):
    """One try: the status of the answer, or what went wrong instead; and how long it took."""

    at: str
    status: int | None
    error: str | None
    ms: int


class DeliveryView(BaseModel):
    """A webhook of a run as its caller sees it; `url` without its query, which may hold a key."""

    delivery_id: str
    run_id: str
    thread_id: str
    url: str
    status: Literal["pending", "delivered", "failed"]
    tries: list[TryView]
    next_try_at: str | None
    created_at: str
    updated_at: str


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
