"""Services -> Starlette: routes, middleware, error handlers."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from .api.middleware import Surroundings
from .api.openapi import document
from .api.operation import Operation
from .api.responses import graphwire_error, http_error, unexpected_error
from .api.routes import OPERATIONS as REST
from .api.routes import routes
from .backend import Backend
from .errors import GraphwireError
from .protocols import v2

# Browsers hide every other header from clients on other origins (contract/clients.md 2).
EXPOSED = ("content-location", "location", "x-pagination-total", "x-pagination-next", "x-request-id")

OPERATIONS: Sequence[Operation] = (*REST, *v2.OPERATIONS)  # of every door
PROBES = ("/", "/ok", "/info")


def build_app(backend: Backend) -> Starlette:
    """The ASGI application over a running backend."""
    return _app(backend, [*routes(OPERATIONS), *v2.SOCKETS])


def build_probes(backend: Backend) -> Starlette:
    """What a worker shows of itself."""
    return _app(backend, [route for route in routes() if route.path in PROBES])


def _app(backend: Backend, served: Sequence[BaseRoute]) -> Starlette:
    app = Starlette(
        routes=served,
        middleware=[Middleware(Surroundings), _cors(backend.cors_allow_origins)],
        exception_handlers={
            GraphwireError: graphwire_error,
            HTTPException: http_error,
            Exception: unexpected_error,
        },
    )
    app.router.redirect_slashes = False  # a redirect would be built from the Host header (reliability B4)
    app.state.backend = backend
    app.state.openapi = document(backend.graph_ids, OPERATIONS)
    return app


def _cors(origins: tuple[str, ...]) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"],
        allow_headers=["*"],
        expose_headers=list(EXPOSED),
        allow_private_network=True,
    )
