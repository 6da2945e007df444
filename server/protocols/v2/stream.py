"""The thread stream as server-sent events: it stays open across runs (contract/protocol-v2.md 4)."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...api import requests
from ...api.context import backend, caller, configurable, services
from ...api.responses import event_stream, json
from ...backend import Backend
from ...errors import Contradiction, Invalid
from ...models import Caller
from ...streaming.encode import decode
from ...streaming.sse import HEARTBEAT, with_retry
from .commands import Commands, is_command, malformed
from .reading import events
from .subscriptions import CHANNELS, Subscription


async def command(request: Request) -> Response:
    """Start a run, answer an interrupt, or ask for a state: one command, one answer."""
    thread_id = requests.path_id(request, "thread_id")
    asked = await _body(request)
    if not is_command(asked):
        return json(malformed(asked), 400)
    commands = Commands(services(request), caller(request), thread_id, configurable(request))
    return json(await commands.answer(asked))


async def subscribe(request: Request) -> Response:
    """All events of a thread that the body asks for: those there are, then those that come."""
    thread_id = requests.path_id(request, "thread_id")
    asked = await _body(request)
    if not isinstance(asked, dict):
        raise Contradiction("The request body must be a JSON object")
    return await _stream(request, thread_id, asked)


async def listen(request: Request) -> Response:
    """The same for a plain EventSource, which goes on after `Last-Event-ID` by itself."""
    thread_id = requests.path_id(request, "thread_id")
    channels = [*requests.words(request, "channels")] or [*CHANNELS]
    asked: dict[str, Any] = {"channels": channels, "namespaces": _json(request, "namespaces")}
    asked |= {name: _json(request, name) for name in ("depth", "since")}
    return await _stream(request, thread_id, asked, retry=True)


async def _body(request: Request) -> Any:
    try:
        return await requests.value(request)
    except Invalid as wrong:
        text = "Invalid JSON body" if wrong.message == requests.NO_JSON else wrong.message
        raise Contradiction(text) from None


def _json(request: Request, name: str) -> Any:
    """A value in the query; what is none is passed over, as it is in a body."""
    try:
        return decode(request.query_params.get(name, "null"))
    except ValueError:
        return None


async def _stream(
    request: Request, thread_id: str, asked: dict[str, Any], *, retry: bool = False
) -> Response:
    last = request.headers.get("last-event-id", "").strip()
    if last.isascii() and last.isdigit() and len(last) <= 16:
        since = asked.get("since")
        asked = {**asked, "since": max(int(last), since if isinstance(since, int) else 0)}
    subscription = Subscription.parse(asked)
    await services(request).readers.watch_events(caller(request), thread_id)
    door = backend(request)
    parts = _frames(door, caller(request), thread_id, subscription, retry)
    return event_stream(parts, {}, door.send_timeout_seconds)


async def _frames(
    door: Backend, who: Caller, thread_id: str, subscription: Subscription, retry: bool
) -> AsyncIterator[bytes]:
    """The stream, a write a time. It does not end: clients take an end for that of all they wait for."""
    async for found, due in events(door, who, thread_id, subscription):
        part = b"".join(event.frame() for event in found)
        if part and retry:
            part, retry = with_retry(part), False
        found.clear()
        yield part + HEARTBEAT if due else part
