"""The thread stream over a WebSocket: commands, answers, events as JSON texts (contract/protocol-v2.md 4)."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from ...api import requests
from ...api.context import backend, caller, configurable, services
from ...api.responses import status_of
from ...backend import Backend
from ...clock import new_id
from ...errors import Contradiction, GraphwireError, Invalid
from ...models import Json
from ...streaming.broker import Cut
from ...streaming.encode import encode
from .commands import Commands, Refused, is_command, malformed, refusal
from .reading import events
from .subscriptions import Subscription

_log = structlog.get_logger(__name__)

SUBSCRIPTIONS_MAX = 32  # of one socket
# What closes a socket for good is 4000 and the status that a request would have got.
REFUSED = 4000
NO_JSON = "Protocol commands must be valid JSON."


async def socket(websocket: WebSocket) -> None:
    """One client, until it leaves or the server cuts it off."""
    door = backend(websocket)
    await websocket.accept()
    try:
        thread_id = requests.path_id(websocket, "thread_id")
        await services(websocket).readers.watch_events(caller(websocket), thread_id)
    except GraphwireError as wrong:
        await websocket.send_text(encode(refusal(None, "invalid_argument", wrong.message)).decode())
        await websocket.close(REFUSED + status_of(wrong), wrong.message[:100])
        return
    await Socket(websocket, door, thread_id).serve()


@dataclass
class Socket:
    """An open socket: its subscriptions, and the one who writes."""

    websocket: WebSocket
    door: Backend
    thread_id: str
    _watching: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def serve(self) -> None:
        """Answer commands, one after the other, while the subscriptions are told what happens."""
        commands = Commands(
            services(self.websocket), caller(self.websocket), self.thread_id, configurable(self.websocket)
        )
        try:
            while True:
                await self._send(encode(await self._answer(commands, await self._receive())))
        except WebSocketDisconnect:
            pass
        finally:
            watching = list(self._watching.values())
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _receive(self) -> str:
        message = await self.websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1005)
        return message.get("text") or (message.get("bytes") or b"").decode(errors="replace")

    async def _answer(self, commands: Commands, text: str) -> Json:
        if len(text) > self.door.body_bytes_max:
            why = f"The command is larger than {self.door.body_bytes_max} bytes"
            return refusal(None, "invalid_argument", why)
        try:
            asked = requests.parse(text.encode())
        except Invalid as wrong:
            why = NO_JSON if wrong.message == requests.NO_JSON else wrong.message
            return refusal(None, "invalid_argument", why)
        if not is_command(asked):
            return malformed(asked)
        return await commands.answer(asked, self._methods())

    def _methods(self) -> Mapping[str, Any]:
        return {
            "subscription.subscribe": self._subscribe,
            "subscription.unsubscribe": self._unsubscribe,
            "subscription.reconnect": self._reconnect,
        }

    async def _subscribe(self, params: Json) -> Json:
        if len(self._watching) >= SUBSCRIPTIONS_MAX:
            raise Refused("invalid_argument", f"There are {SUBSCRIPTIONS_MAX} subscriptions already.")
        try:
            subscription = Subscription.parse(params)
        except Contradiction as wrong:
            raise Refused("invalid_argument", wrong.message) from None
        name = new_id()
        self._watching[name] = asyncio.create_task(self._watch(subscription))
        return {"subscription_id": name, "replayed_events": 0}

    async def _unsubscribe(self, params: Json) -> Json:
        name = params.get("subscription_id")
        task = self._watching.pop(name, None) if isinstance(name, str) else None
        if task is None:
            raise Refused("no_such_subscription", f"Unknown subscription: {str(name)[:100]}")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return {}

    async def _reconnect(self, params: Json) -> Json:
        """Subscribe again, after the last event that the client has."""
        last = params.get("last_event_id")
        since = int(last) if isinstance(last, str) and last.isascii() and last.isdigit() else None
        asked = {**params, "since": since if params.get("since") is None else params["since"]}
        return {"restored": True, **await self._subscribe(asked)}

    async def _watch(self, subscription: Subscription) -> None:
        """Tell one subscription all there is and all that comes."""
        try:
            who = caller(self.websocket)
            async for found, _ in events(self.door, who, self.thread_id, subscription):
                for event in found:
                    await self._send(event.encoded())
        except Cut:
            self._break_off()
        except WebSocketDisconnect:
            pass  # whoever serves the socket hears of it too
        except Exception as failure:
            _log.error("subscription failed", thread_id=self.thread_id, exc_info=failure)
            self._break_off()

    async def _send(self, data: bytes) -> None:
        """Write one text. A client that does not read is cut off: it comes back and goes on."""
        try:
            async with asyncio.timeout(self.door.send_timeout_seconds), self._writing:
                await self.websocket.send_text(data.decode())
        except TimeoutError:
            _log.info("cut off a reader that does not read", path=self.websocket.url.path)
            self._break_off()
            raise WebSocketDisconnect(1006) from None

    def _break_off(self) -> None:
        """End the connection, not the stream: a clean end is that of all a client waits for."""
        transport = self.websocket.scope.get("graphwire.transport")
        if transport is not None:
            transport.abort()
