"""Which pages of other origins may call: CORS for requests, and the same origins for WebSockets."""

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from ..rules.cors import CorsRules
from .responses import json

FOREIGN = (
    "Pages of other sites may not call this server: CORS_ALLOW_ORIGINS or http.cors lists those that may."
)
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})


class Cors(CORSMiddleware):
    """Browsers keep to CORS in requests but not in WebSockets: there the server has to look at the origin."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self._may_connect(Headers(scope=scope)):
            await WebSocketClose(1008)(scope, receive, send)
            return
        if scope["type"] == "http" and self._is_foreign(scope):
            await json({"detail": FOREIGN}, 403)(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        """Whether a page that may not call would change something; browsers say so, and pages cannot lie."""
        if scope["method"] in _HARMLESS or self.allow_all_origins:
            return False
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin is not None and self.is_allowed_origin(origin)
        return headers.get("sec-fetch-site") == "cross-site" and not allowed

    def preflight_response(self, request_headers: Headers) -> Response:
        """Starlette's answer; one that says no does not say yes to private networks."""
        answer = super().preflight_response(request_headers)
        if answer.status_code != 200:
            del answer.headers["access-control-allow-private-network"]
        return answer

    def _may_connect(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        own = origin is not None and origin.partition("://")[2] == headers.get("host")
        return origin is None or own or self.is_allowed_origin(origin)


def cors(rules: CorsRules) -> Middleware:
    return Middleware(
        Cors,
        allow_origins=rules.origins,
        allow_origin_regex=rules.origin_regex,
        allow_methods=rules.methods,
        allow_headers=rules.headers,
        allow_credentials=rules.credentials,
        allow_private_network=rules.private_network,
        expose_headers=rules.exposed,
        max_age=rules.max_age_seconds,
    )
