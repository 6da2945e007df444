"""No caller asks for more than his share: 429 with `Retry-After`, also for WebSockets (reliability A11).

Inside authentication: who asks is the user, and without users the address that the connection comes from.
"""

import ipaddress

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from ..rules.limits import Turnstile
from ..telemetry.meters import Meters
from .authentication import caller_of
from .operation import UNLIMITED
from .responses import json

IPV6_PREFIX = 64  # what one customer of a provider has to himself


class Limited:
    """Requests of callers who ask for too much are answered here. Those from within are not counted."""

    def __init__(self, app: ASGIApp, turnstile: Turnstile, meters: Meters | None = None) -> None:
        self._app = app
        self._turnstile = turnstile
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = _who(scope) if scope["type"] in ("http", "websocket") else None
        if who is None or get_route_path(scope) in UNLIMITED:
            await self._app(scope, receive, send)
            return
        refusal = self._turnstile.enter(who)
        if refusal is not None:
            if self._meters is not None:
                self._meters.refused[refusal.limit] += 1
            answer = json({"detail": refusal.text}, 429, {"retry-after": str(refusal.seconds)})
            await answer(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._turnstile.leave(who)


def _who(scope: Scope) -> str | None:
    """The user, else the address; None: a graph of this process."""
    if scope.get("client") is None:
        return None
    if (caller := caller_of(scope)) is not None and caller.identity:
        return f"user {caller.identity}"
    return f"address {_network(scope['client'][0])}"


def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return host
