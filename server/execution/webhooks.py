"""Tells receivers how runs ended: empties the outbox, a few at a time, again where that failed.

A delivery stays in the outbox until its receiver has taken it or its tries are used up, so one that a crash
interrupts is sent again, under the same id. The signature is that of Standard Webhooks (docs/webhooks.md).
"""

import asyncio
import base64
import hashlib
import hmac
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import structlog

from .. import __version__
from ..clock import now
from ..errors import Invalid, describe
from ..models import Delivery, Json
from ..services.deliveries import Outbox
from ..streaming.encode import encode
from ..streaming.signals import Signals
from .egress import Egress

_log = structlog.get_logger(__name__)

POLL_SECONDS = 5.0  # the safety net, as in worker.py
WAIT_GROWTH = 6.0  # 1, 6, 36 and 216 seconds between five tries
WAIT_SECONDS_MAX = 240.0
JITTER = 0.25  # of a wait, added: what failed together does not come again together
ORIGIN_SHARE = 4  # one origin gets a quarter of the slots, so that a dead one does not hold up the others
TEXT_MAX = 300
_GONE = 410  # "do not call here again"


@dataclass(frozen=True, slots=True)
class Sending:
    """What the operator decided about webhooks. `keys` sign; several during the change of a secret."""

    keys: Sequence[bytes] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tries_max: int = 5
    at_once: int = 16
    wait_seconds: float = 1.0
    last_seconds: float = 1.0  # for what is under way when the server stops


class Webhooks:
    """Sends for ever; on the loop of the process."""

    def __init__(self, outbox: Outbox, egress: Egress, signals: Signals, sending: Sending) -> None:
        self._outbox = outbox
        self._egress = egress
        self._signals = signals
        self._sending = sending
        self._in_hand: dict[str, tuple[str, asyncio.Task[None]]] = {}  # delivery -> its origin, its task

    async def work(self) -> None:
        """Send whenever something is due: told by a signal, by the time, and now and then.

        When it is cancelled, what is under way gets a moment: to break it off would send it twice.
        """
        try:
            while True:
                await self._signals.wait("webhooks", await self._round())
        finally:
            tasks = [task for _, task in self._in_hand.values()]
            if tasks:
                await asyncio.wait(tasks, timeout=self._sending.last_seconds)
            for task in tasks:
                task.cancel()

    async def _round(self) -> float:
        """Begin what can begin; returns the seconds until something more may be due."""
        try:
            found, due = await self._due()
            for delivery in found:
                self._begin(delivery)
        except Exception:  # the task supervisor: a database in trouble must not end the sender
            _log.exception("could not read the outbox")
            return POLL_SECONDS
        if due is None:
            return POLL_SECONDS
        left = (datetime.fromisoformat(due) - datetime.now(UTC)).total_seconds()
        return min(max(left, 0.0), POLL_SECONDS)

    async def _due(self) -> tuple[list[Delivery], str | None]:
        """What may be sent now, and when there is more. No origin gets more than its share of the slots."""
        free = self._sending.at_once - len(self._in_hand)
        if free <= 0:
            return [], None
        busy = Counter(origin for origin, _ in self._in_hand.values())
        share = max(1, self._sending.at_once // ORIGIN_SHARE)
        full = [origin for origin, count in busy.items() if count >= share]
        found = []
        listed, next_due = await self._outbox.due(free, list(self._in_hand), full)
        for delivery in listed:
            origin = origin_of(delivery.url)
            busy[origin] += 1
            if busy[origin] <= share:
                found.append(delivery)
        if found:
            self._signals.notify("webhooks")  # slots that one origin left unused are another's: look again
        return found, next_due

    def _begin(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._deliver(delivery))
        self._in_hand[delivery.delivery_id] = (origin_of(delivery.url), task)
        task.add_done_callback(lambda _: self._end(delivery.delivery_id))

    def _end(self, delivery_id: str) -> None:
        del self._in_hand[delivery_id]
        self._signals.notify("webhooks")

    async def _deliver(self, delivery: Delivery) -> None:
        """One try, noted. While that cannot be noted the delivery stays in hand, or it would go out again."""
        tried = await self._try(delivery)
        status = tried["status"]
        taken = status is not None and 200 <= status < 300
        over = taken or status == _GONE or len(delivery.tries) + 1 >= self._sending.tries_max
        if over and not taken:
            _log.warning("a webhook is given up", run_id=delivery.run_id, **tried)
        again_in = None if over else wait_after(len(delivery.tries) + 1, self._sending.wait_seconds)
        while True:
            try:
                return await self._outbox.record(delivery, tried, again_in, taken=taken)
            except Exception:  # as above
                _log.exception("could not note a delivery", run_id=delivery.run_id)
                await asyncio.sleep(POLL_SECONDS)

    async def _try(self, delivery: Delivery) -> Json:
        """Send it once: `{at, status, error, ms}`."""
        at, started = now(), time.monotonic()
        status, error = None, None
        try:
            body = stamped(delivery.body, at)
            headers = {**self._own_headers(delivery.delivery_id, body), **self._sending.headers}
            status = await self._egress.post(delivery.url, headers, body)
        except Exception as failure:  # whatever the other end and the way to it can do
            error = _told(failure)
            if not isinstance(failure, Invalid | httpx.HTTPError | TimeoutError | OSError):
                _log.error("a webhook could not be sent", run_id=delivery.run_id, exc_info=failure)
        return {
            "at": at,
            "status": status,
            "error": error,
            "ms": round((time.monotonic() - started) * 1000),
        }

    def _own_headers(self, delivery_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        headers = {
            "accept": "*/*",
            "accept-encoding": "identity",
            "connection": "close",
            "content-type": "application/json",
            "user-agent": f"graphwire/{__version__}",
            "webhook-id": delivery_id,
            "webhook-timestamp": timestamp,
        }
        if self._sending.keys:
            signatures = [signature(key, delivery_id, timestamp, body) for key in self._sending.keys]
            headers["webhook-signature"] = " ".join(signatures)
        return headers


def signature(key: bytes, delivery_id: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of id, time and body, as Standard Webhooks has it."""
    signed = b".".join((delivery_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def stamped(body: bytes, at: str) -> bytes:
    """The stored JSON object with the time of this try."""
    return body[:-1] + b',"webhook_sent_at":' + encode(at) + b"}"


def wait_after(tries: int, first_seconds: float) -> float:
    """Seconds to wait after so many tries that failed."""
    wait = min(first_seconds * WAIT_GROWTH ** min(tries - 1, 16), WAIT_SECONDS_MAX)
    return wait * random.uniform(1.0, 1.0 + JITTER)


def origin_of(url: str) -> str:
    """Scheme, host and port: who is called, whatever the path."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"


def _told(failure: Exception) -> str:
    """What went wrong, for the log that the caller reads."""
    if isinstance(failure, Invalid):
        return failure.message
    found = describe(failure)
    return f"{found['error']}: {found['message']}".removesuffix(": ")[:TEXT_MAX]
