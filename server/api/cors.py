"""Which pages of other origins may call: CORS for requests, and the same origins for WebSockets."""

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from ..cors import CorsRules


class Cors(CORSMiddleware):
    """Browsers keep to CORS in requests but not in WebSockets: there the server has to look at the origin."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self._may_connect(Headers(scope=scope)):
            await WebSocketClose(1008)(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

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
