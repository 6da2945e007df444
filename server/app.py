"""Services -> Starlette: routes, middleware, error handlers."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.routing import BaseRoute

from .api.cors import cors
from .api.middleware import Surroundings
from .api.openapi import document
from .api.operation import Operation
from .api.responses import graphwire_error, http_error, unexpected_error
from .api.routes import OPERATIONS as REST
from .api.routes import routes
from .api.traced import Traced
from .api.turnstile import Limited
from .backend import Backend
from .cors import CorsRules
from .errors import GraphwireError
from .limits import RequestLimits, Turnstile
from .meters import Meters
from .protocols import v2

OPERATIONS: Sequence[Operation] = (*REST, *v2.OPERATIONS)  # of every door
PROBES = ("/", "/ok", "/info", "/metrics")


def build_app(backend: Backend) -> Starlette:
    """The ASGI application over a running backend."""
    return _app(backend, [*routes(OPERATIONS), *v2.SOCKETS])


def build_probes(backend: Backend) -> Starlette:
    """What a worker shows of itself."""
    return _app(backend, [route for route in routes() if route.path in PROBES])


def _app(backend: Backend, served: Sequence[BaseRoute]) -> Starlette:
    meters = backend.observed.meters if backend.observed else None
    app = Starlette(
        routes=served,
        middleware=[
            *([Middleware(Traced, tracing=backend.tracing)] if backend.tracing else []),
            *surroundings(backend.cors, meters, access_log=backend.access_log),
            *limited(backend.limits, meters),
        ],
        exception_handlers={GraphwireError: graphwire_error, HTTPException: http_error},
    )
    app.router.redirect_slashes = False  # a redirect would be built from the Host header (reliability B4)
    app.state.backend = backend
    app.state.openapi = document(backend.graph_ids, OPERATIONS)
    return app


def limited(limits: RequestLimits, meters: Meters | None) -> list[Middleware]:
    """What holds callers to their share, inside of what finds out who they are."""
    return [Middleware(Limited, turnstile=Turnstile(limits), meters=meters)] if limits.any else []


def surroundings(
    rules: CorsRules, meters: Meters | None = None, *, access_log: bool = True
) -> list[Middleware]:
    """What every request passes on its way in and out, the outermost first."""
    return [
        Middleware(Surroundings, meters=meters, access_log=access_log),
        cors(rules),
        # Within CORS, unlike Starlette's own: else a page on another origin could not read a 500.
        Middleware(ServerErrorMiddleware, handler=unexpected_error),
    ]
