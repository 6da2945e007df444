"""Authentication at every door: nothing but what is public gets past it without a user (reliability S5).

Plain ASGI, on the path as it came: what exists behind it does not matter, so an unknown path is a 401 too.
A stream that stays open is asked about again, so that a token that was revoked does not read on for ever.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from starlette.authentication import AuthCredentials
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth.authenticator import Authenticator
from ..errors import AccessError, GraphwireError, Unauthorized
from ..models import Caller
from ..rules.users import Authenticated
from .responses import graphwire_error

ONCE_A_SECOND = 1.0
AGAIN_SECONDS = 50.0  # after a revocation a stream is read for a minute at most, heartbeats being 5 s apart
FAILURES_MAX = 5  # of asking again, before a stream is closed because nobody can tell
BODY_BYTES_MAX = 2**20  # that `authenticate` may read before it knows who asks
CALLER = "graphwire.caller"
WITHIN = "graphwire.within"  # set by the server's own transport (loopback.py); no network can
_log = structlog.get_logger(__name__)


class Authentication:
    """Lets requests in with a `Caller`. `public` are paths that need none, as what `open_too` says."""

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        public: frozenset[str],
        open_too: Callable[[Scope], bool] | None = None,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._public = public
        self._open_too = open_too

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif scope.get(WITHIN):
            scope[CALLER] = Caller(request_id=scope.get("request_id", ""), trusted=True)
            await self._app(scope, receive, send)
        elif self._is_public(scope):
            await self._app(scope, receive, send)
        else:
            await self._let_in(scope, receive, send)

    def _is_public(self, scope: Scope) -> bool:
        if self._open_too is not None and self._open_too(scope):
            return True
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and path in self._public

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = _Body(receive)
        try:
            who = await self._ask(scope, read.receive)
        except GraphwireError as refused:
            await _refuse(refused, scope, receive, send)
            return
        scope[CALLER] = Caller(who.user.identity, who.permissions, who.user, scope.get("request_id", ""))
        scope["user"], scope["auth"] = who.user, AuthCredentials(list(who.permissions))
        watch = _Watch(self, scope, who, receive)
        await self._app(scope, watch.receiving(read.replay), watch.sending(send))

    async def _ask(self, scope: Scope, receive: Receive) -> Authenticated:
        return await self._authenticator.authenticate(_given(self._authenticator.wants, scope, receive))

    async def still(self, scope: Scope, who: Authenticated) -> Authenticated | None:
        """Who a stream is read by, if that is who it was. None: it must end."""
        found = await self._ask(scope, _nothing)
        return found if found.user.identity == who.user.identity else None


def _given(wants: frozenset[str], scope: Scope, receive: Receive) -> dict[str, Any]:
    """What `authenticate` asks for. Raises Unauthorized for two Authorization headers: which one counts?"""
    sent = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(sent) > 1:
        raise Unauthorized
    given: dict[str, Any] = {}
    for name in wants:
        if name == "request":
            given[name] = Request(scope, receive) if scope["type"] == "http" else HTTPConnection(scope)
        elif name == "headers":
            given[name] = dict(scope["headers"])
        elif name == "query_params":
            given[name] = dict(QueryParams(scope["query_string"]))
        else:
            given[name] = _text(name, scope, sent)
    return given


def _text(name: str, scope: Scope, sent: list[bytes]) -> Any:
    if name == "authorization":
        return sent[0].decode("latin-1") if sent else None
    if name == "path_params":
        return {}
    return scope["path"] if name == "path" else scope.get("method", "GET")


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _refuse(refused: GraphwireError, scope: Scope, receive: Receive, send: Send) -> None:
    """The error as an answer; to a WebSocket before it is accepted, which makes it a 403."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    response = await graphwire_error(Request(scope), refused)
    await response(scope, receive, send)


class _Body:
    """A body that `authenticate` may read, and the handler again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: list[Message] = []
        self._size = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        self._read.append(message)
        if self._size > BODY_BYTES_MAX:
            raise Unauthorized(f"Authentication reads at most {BODY_BYTES_MAX} bytes of a body")
        return message

    @property
    def replay(self) -> Receive:
        return self._again if self._read else self._receive

    async def _again(self) -> Message:
        return self._read.pop(0) if self._read else await self._receive()


class _Watch:
    """Asks again about whoever keeps a stream open, and breaks the connection off when he is refused.

    It costs a look at the clock for each write, and no task but while it asks.
    """

    def __init__(self, door: Authentication, scope: Scope, who: Authenticated, receive: Receive) -> None:
        self._door = door
        self._scope = scope
        self._who = who
        self._receive = receive
        self._failures = 0
        self._over = False
        self._asking: asyncio.Task[None] | None = None
        self._next = self._due()

    def _due(self) -> float:
        """When to ask again."""
        seconds = AGAIN_SECONDS
        if self._who.expires_at is not None:
            seconds = min(seconds, max(ONCE_A_SECOND, self._who.expires_at - time.time()))
        return time.monotonic() + seconds

    def sending(self, send: Send) -> Send:
        async def send_and_look(message: Message) -> None:
            self._look()
            await send(message)

        return send_and_look

    def receiving(self, receive: Receive) -> Receive:
        """Of a WebSocket: what it says waits until it is known whether it may say anything."""
        if self._scope["type"] != "websocket":
            return receive

        async def receive_and_look() -> Message:
            message = await receive()
            self._look()
            if self._asking is not None:
                await asyncio.shield(self._asking)
            return {"type": "websocket.disconnect", "code": 1008} if self._over else message

        return receive_and_look

    def _look(self) -> None:
        if time.monotonic() >= self._next and self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask_again())

    async def _ask_again(self) -> None:
        try:
            found = await self._door.still(self._scope, self._who)
            self._failures = 0
        except AccessError:
            found = None
        except GraphwireError:  # nobody can tell at present
            self._failures += 1
            found = self._who if self._failures < FAILURES_MAX else None
        if found is None:
            _log.info("cut off a reader that may not read any more", path=self._scope["path"])
            self._break_off()
            return
        self._who = found
        self._next, self._asking = self._due(), None

    def _break_off(self) -> None:
        """Not an end: whoever goes on is asked who he is, like everybody."""
        self._over = True
        transport = self._scope.get("graphwire.transport")
        if transport is not None:
            transport.abort()


def caller_of(scope: Mapping[str, Any]) -> Caller | None:
    """Who was let in; None where nobody was asked."""
    return scope.get(CALLER)
