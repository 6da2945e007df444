"""Under which names the server may be called.

A page can have its own name point to 127.0.0.1 and then speak to a server there as to its own (DNS
rebinding, reliability B3). It cannot hide the name: browsers send it in `Host`.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from .responses import json

ELSEWHERE = "This server is not %s. GRAPHWIRE_ALLOWED_HOSTS lists other names under which it may be called."
SHOWN_MAX = 100


class Hosts:
    """Refuses requests for other names with 421; `*.x` is every name below x, and no names are all."""

    def __init__(self, app: ASGIApp, names: tuple[str, ...], *, probes: bool) -> None:
        self._app = app
        self._names = frozenset(name for name in names if not name.startswith("*."))
        self._domains = tuple(name[1:] for name in names if name.startswith("*."))
        self._probes = probes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (self._names or self._domains):
            host = _host(scope)
            if not self._knows(host) and not (self._probes and scope["path"] == "/ok"):
                await _refuse(host, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _knows(self, host: str) -> bool:
        return host in self._names or host.endswith(self._domains)


def _host(scope: Scope) -> str:
    """The name or address in the header, lower case and without the port."""
    said = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
    name, _, port = said.rpartition(":")
    return name if port.isdigit() else said


async def _refuse(host: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await json({"detail": ELSEWHERE % repr(host[:SHOWN_MAX])}, 421)(scope, receive, send)
