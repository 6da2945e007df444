"""Answers for HTTP/1.0, such as nginx speaks by default: no chunks, the end of the connection is the end.

uvicorn's httptools protocol chunks every body without a length, also for clients that never heard of chunks.
"""

from typing import Any, cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from .strict_http import StrictProtocol


class Protocol(StrictProtocol):
    """uvicorn's protocol, with our cycle for clients of HTTP/1.0."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        # For streams that must break off.
        cast(dict[str, Any], self.scope)["graphwire.transport"] = self.transport
        if self.scope["http_version"] == "1.0" and self.cycle is not None:
            # The cycle exists but has not begun: its task takes its first step after this callback.
            self.cycle.__class__ = UnframedCycle


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol for WebSockets, whose connections can be broken off."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # not where the handshake was refused
            cast(dict[str, Any], self.scope)["graphwire.transport"] = self.transport


class UnframedCycle(RequestResponseCycle):
    """One request whose body goes out as it is; uvicorn closes a connection of HTTP/1.0 after it."""

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            self.chunked_encoding = False
        elif message["type"] == "http.response.body":
            # uvicorn counts the bytes against an announced length; here each part is all that is expected.
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
