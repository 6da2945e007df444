"""Services -> Starlette: routes, middleware, error handlers."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from .api.authentication import Authentication
from .api.cors import cors
from .api.custom import CustomApp, around, load_custom_app, merged
from .api.hosts import Hosts
from .api.middleware import Surroundings
from .api.openapi import document
from .api.operation import Operation, group_of
from .api.prefix import Prefixed
from .api.responses import client_left, graphwire_error, http_error, unexpected_error
from .api.routes import OPERATIONS as REST
from .api.routes import routes
from .api.traced import Traced
from .api.turnstile import Limited
from .backend import Backend, Gate
from .errors import GraphwireError
from .mounted import Config, Mounted
from .protocols import v2
from .rules.http import HttpRules
from .rules.limits import Turnstile
from .telemetry.meters import Meters

Lend = Callable[[str], AbstractContextManager[None]]

OPERATIONS: Sequence[Operation] = (*REST, *v2.OPERATIONS)  # of every door
PROBES = ("/", "/ok", "/info", "/metrics")


def create_app(config: Config = "langgraph.json", *, allow_outside: bool = False) -> Mounted:
    """The server as an ASGI application, to be mounted into a Starlette or FastAPI of the user's.

    `config` is the path of a langgraph.json, what one holds, or a Project; with `allow_outside` its paths may
    lead out of the project. Nothing is opened before its `lifespan` is entered or the first request comes.
    Raises ConfigError. How to use it: docs/mounting.md.
    """
    return Mounted(config, opened_app, at_door, allow_outside=allow_outside)


@asynccontextmanager
async def opened_app(
    backend: Backend, rules: HttpRules, root: Path, within: Callable[[ASGIApp, Lend], None]
) -> AsyncIterator[Starlette]:
    """The ASGI application over a running backend, with the user's own if there is one, and its lifespan.

    `within` is told of it before: the lifespan may call the server. Raises CustomAppError. The user's paths
    count from `root`.
    """
    custom = load_custom_app(rules.app, root) if rules.app is not None else None
    app = build_app(backend, rules, custom)
    within(app, backend.work.lend)
    async with custom.lifespan() if custom is not None else nullcontext():
        yield app


def build_app(backend: Backend, rules: HttpRules, custom: CustomApp | None = None) -> Starlette:
    """The ASGI application; what reaches the server from outside goes through `at_door` first."""
    operations = [operation for operation in OPERATIONS if _is_on(operation, rules)]
    sockets = [socket for socket in v2.SOCKETS if group_of(socket.path) not in rules.disabled]
    app = _app(backend, rules, [*routes(operations), *sockets], custom)
    ours = document(backend.graph_ids, operations, backend.gate.openapi if backend.gate is not None else None)
    app.state.openapi = merged(ours, custom.openapi()) if custom is not None else ours
    return app


def build_probes(backend: Backend, rules: HttpRules) -> Starlette:
    """What a worker shows of itself."""
    return _app(backend, rules, [route for route in routes() if route.path in PROBES])


def at_door(app: ASGIApp, rules: HttpRules) -> ASGIApp:
    """The application as the network sees it; calls from within need none of this."""
    return Hosts(Prefixed(app, rules.prefix), rules.hosts, probes=rules.probes_by_any_host)


def _is_on(operation: Operation, rules: HttpRules) -> bool:
    return operation.group not in rules.disabled or operation.path == "/ok"


def _app(
    backend: Backend, rules: HttpRules, served: Sequence[BaseRoute], custom: CustomApp | None = None
) -> Starlette:
    known = [*_authentication(backend.gate, rules, custom), *_limited(backend)]
    app = Starlette(
        routes=served,
        middleware=[
            *_traced(backend),
            *surroundings(rules, backend),
            *around(custom, known, auth_first=rules.auth_first),
        ],
        exception_handlers={
            GraphwireError: graphwire_error,
            HTTPException: http_error,
            ClientDisconnect: client_left,
        },
    )
    app.router.redirect_slashes = False  # a redirect would be built from the Host header (reliability B4)
    app.state.backend = backend
    app.state.http = rules
    return app


def _traced(backend: Backend) -> list[Middleware]:
    return [Middleware(Traced, tracing=backend.tracing)] if backend.tracing is not None else []


def _limited(backend: Backend) -> list[Middleware]:
    """What holds callers to their share, inside of what finds out who they are."""
    if not backend.limits.any:
        return []
    return [Middleware(Limited, turnstile=Turnstile(backend.limits), meters=_meters(backend))]


def _meters(backend: Backend | None) -> Meters | None:
    return backend.observed.meters if backend is not None and backend.observed is not None else None


def _authentication(gate: Gate | None, rules: HttpRules, custom: CustomApp | None) -> list[Middleware]:
    """Who asks is known from here on. The user's routes are open unless he says otherwise."""
    if gate is None:
        return []
    open_too = custom.takes if custom is not None and not rules.custom_routes_authenticated else None
    return [Middleware(Authentication, gate.authenticator, gate.public, open_too)]


def surroundings(rules: HttpRules, backend: Backend | None = None) -> list[Middleware]:
    """What every request passes on its way in and out, the outermost first."""
    access_log = backend is None or backend.access_log
    return [
        Middleware(Surroundings, logged=rules.logged_headers, meters=_meters(backend), access_log=access_log),
        cors(rules.cors),
        # Within CORS, unlike Starlette's own: else a page on another origin could not read a 500.
        Middleware(ServerErrorMiddleware, handler=unexpected_error),
    ]
