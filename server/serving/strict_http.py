"""What uvicorn and its parser leave open: heads without end, clients without haste, requests of two meanings.

httptools refuses most of what smuggles requests past a proxy by itself (reliability I10). The rest is here:
who says twice or not at all whom he means, how long his body is, or which HTTP he speaks.
"""

import asyncio
import http
import json
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LINES_MAX = 100
BODY_BYTES_PER_SECOND_MIN = 1_000
# What chunks may cost beside what they carry: one byte a chunk is six times its size on the wire.
FRAMING_MAX = 8
# For whoever is answered while he still sends: closed at once, he would not see the answer.
LINGER_SECONDS, LINGER_BYTES = 3.0, 16 * 1024 * 1024
TOO_LARGE = f"The head of the request is too large: more than {HEAD_LINES_MAX} headers or %d bytes."


@dataclass(frozen=True, slots=True)
class Limits:
    """For what comes in; a body's size is the door's own business."""

    head_bytes: int = 32 * 1024
    seconds: float = 15.0  # for a head, before a first request, and in which a body must make progress


class Phase(Enum):
    """Which part of a request is read."""

    between = auto()
    head = auto()
    body = auto()


class Refused(Exception):
    """Raised within the parser, which stops on it."""


class StrictProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also says no."""

    limits = Limits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._phase = Phase.between
        self._refusal = (400, "Invalid HTTP request received.")
        self._head_bytes = self._head_lines = 0
        self._came = self._carried = 0  # bytes on the wire since the head, and those of the body among them
        self._due_came = 0  # what had come when the timer was last set
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False

    # ------------------------------------------------------------------ limits of size

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase = Phase.head
        self._head_bytes = self._head_lines = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase is Phase.body:
            return  # a trailer: nobody asks for any, and handlers have read the headers already
        self._head_lines += 1
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.head_bytes or self._head_lines > HEAD_LINES_MAX:
            self._stop(431, TOO_LARGE % self.limits.head_bytes)

    def _stop(self, status: int, text: str) -> None:
        self._refusal = status, text
        raise Refused

    def on_headers_complete(self) -> None:
        self._unset_timer()
        self._phase = Phase.body
        self._came = self._carried = self._due_came = 0
        if problem := self._ambiguity():
            self._stop(400, problem)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._carried += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unset_timer()
        self._phase = Phase.between
        super().on_message_complete()

    def _ambiguity(self) -> str | None:
        """What another program might read otherwise."""
        if (version := self.parser.get_http_version()) not in ("1.0", "1.1"):
            return f"This server speaks HTTP/1.1 and 1.0, not {version}."
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1"):
            return "A request names one Host."
        if not self.url.startswith(b"/") and self.url != b"*" and urlsplit(self.url).netloc not in hosts:
            return "The target and the Host of the request differ."
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (version == "1.0" or [coding.lower() for coding in codings] != [b"chunked"]):
            return "The only Transfer-Encoding is chunked."
        return None

    # ------------------------------------------------------------------ limits of time

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._unset_timer()  # from now on pings tell whether he is there
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        before = self._phase
        super().data_received(data)
        if self._refused or self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # or it is a WebSocket by now
        if before is not Phase.between and before is self._phase:
            self._came += len(data)
        if self._phase is Phase.head:
            self._watch_head(data)
        elif self._phase is Phase.body:
            self._watch_body(len(data))
        elif self._idle():
            self._set_timer()

    def _watch_head(self, data: bytes) -> None:
        if self._timer is None:
            self._set_timer()
        if self._came > self.limits.head_bytes:
            self._refuse(431, TOO_LARGE % self.limits.head_bytes)
        elif data.endswith(b"\n") and self.parser.get_http_version() in ("0.0", "0.9"):
            self._refuse(400, "This server does not speak HTTP/0.9.")

    def _watch_body(self, last: int) -> None:
        if self._timer is None:
            self._set_timer()
        if self.cycle.response_complete:
            if self._came > LINGER_BYTES:
                self.flow.pause_reading()
        elif self._came > self.limits.head_bytes + FRAMING_MAX * self._carried + last:
            self._refuse(400, "The chunks of the body carry too little.")

    def _idle(self) -> bool:
        """Whether nothing is under way and nobody waits for the next request, as after blank lines."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and self._timer is None and self.timeout_keep_alive_task is None

    def _set_timer(self) -> None:
        self._timer = self.loop.call_later(self.limits.seconds, self._on_due)

    def _unset_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_due(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._phase is Phase.between:
            self.transport.close()
        elif self._phase is Phase.body and (self.flow.read_paused or self._is_hasty_enough()):
            self._due_came = self._came
            self._set_timer()
        else:
            self._refuse(408, f"The request did not come within {self.limits.seconds:g} seconds.")

    def _is_hasty_enough(self) -> bool:
        return self._came - self._due_came >= BODY_BYTES_PER_SECOND_MIN * self.limits.seconds

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._phase is Phase.body and self.cycle.response_complete and not self.transport.is_closing():
            # Nobody reads the rest. Whoever sends it gets a moment to see the answer.
            self._unset_timer()
            self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    # ------------------------------------------------------------------ saying no

    def _refuse(self, status: int, text: str) -> None:
        self._refusal = status, text
        self.send_400_response(text)

    def send_400_response(self, msg: str) -> None:
        """Answer what `_refusal` says, then close; in the middle of another answer only close."""
        self._unset_timer()
        self._refused = True
        if self.pipeline or (self.cycle and self.cycle.response_started and not self.cycle.response_complete):
            self.transport.close()
            return
        status, text = self._refusal
        body = json.dumps({"detail": text}).encode()
        phrase = http.HTTPStatus(status).phrase
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.pause_reading()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the handler, if there is one, waits for a body
            self.cycle.message_event.set()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


def limited(limits: Limits, base: type[StrictProtocol]) -> type[StrictProtocol]:
    """The protocol with these limits: uvicorn makes one itself for each connection."""
    return type(base.__name__, (base,), {"limits": limits})
