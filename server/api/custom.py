"""The user's own Starlette or FastAPI application, `http.app`: its routes before ours, its middleware around
all, its lifespan with the server's (contract/resources.md 11).
"""

import copy
import sys
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from starlette._utils import get_route_path
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import CustomAppError
from ..graph.loader import Unfit, explained, variable_of
from ..models import Json

_log = structlog.get_logger(__name__)

OURS = frozenset({"/ok", "/docs", "/openapi.json"})  # whatever the application has under these names


@dataclass(frozen=True, slots=True)
class CustomApp:
    """An application that was loaded. Its parts are used one by one, for ours lies between them."""

    app: Starlette
    inner: ASGIApp  # its routes and exception handlers, without its middleware
    target: str
    state: dict[str, Any] = field(default_factory=dict)  # what its lifespan yields, for `request.state`

    def takes(self, scope: Scope) -> bool:
        """Whether a request is for one of its routes: the path and, of HTTP, the method."""
        if get_route_path(scope) in OURS:
            return False
        return any(route.matches(dict(scope))[0] is Match.FULL for route in self.app.router.routes)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Its lifespan. Raises CustomAppError if it fails to start."""
        context = self.app.router.lifespan_context(self.app)
        try:
            state = await context.__aenter__()
        except Exception as error:
            text = f'The lifespan of "http.app" ({self.target}) failed: {type(error).__name__}: {error}'
            raise CustomAppError(text) from error
        if state:
            self.state.update(state)
        try:
            yield
        finally:
            try:
                await context.__aexit__(*sys.exc_info())
            except Exception:
                _log.exception("the lifespan of http.app failed at its end", app=self.target)

    def openapi(self) -> Json:
        """What a FastAPI says of itself; nothing if it cannot."""
        describe = getattr(self.app, "openapi", None)
        try:
            found = describe() if callable(describe) else {}
        except Exception:
            _log.exception("http.app cannot describe itself", app=self.target)
            return {}
        return found if isinstance(found, dict) else {}


def load_custom_app(target: str, root: Path) -> CustomApp:
    """Import what `http.app` names; paths count from `root`. Raises CustomAppError."""
    with explained(f'The application of "http.app" ({target})', root, CustomAppError):
        app = variable_of(target, root)
        if not isinstance(app, Starlette):
            raise Unfit(f"it is a {type(app).__name__}; name a Starlette or a FastAPI.")
        bare = copy.copy(app)
        bare.user_middleware = []
        return CustomApp(app, bare.build_middleware_stack(), target)


def around(
    custom: CustomApp | None, authentication: list[Middleware], *, auth_first: bool
) -> list[Middleware]:
    """What lies between our surroundings and our routes: authentication, the user's middleware and routes."""
    if custom is None:
        return authentication
    theirs = [Middleware(_Entered, custom=custom), *custom.app.user_middleware]
    ordered = [*authentication, *theirs] if auth_first else [*theirs, *authentication]
    return [*ordered, Middleware(_Routes, custom=custom)]


class _Entered:
    """`request.app` is the user's: his middleware looks for what he left in its state, also after ours."""

    def __init__(self, app: ASGIApp, custom: CustomApp) -> None:
        self._app = app
        self._custom = custom

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["graphwire.app"], scope["app"] = scope["app"], self._custom.app
        scope.setdefault("state", {}).update(self._custom.state)
        await self._app(scope, receive, send)


class _Routes:
    """The user's routes first, then ours; a method that the user has no route for is left to ours."""

    def __init__(self, app: ASGIApp, custom: CustomApp) -> None:
        self._app = app
        self._custom = custom

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        chosen = self._custom.inner if self._custom.takes(scope) else self._app
        await chosen(scope, receive, send)


def merged(ours: Json, theirs: Json) -> Json:
    """One OpenAPI document of two: their paths win, save OURS; `info` is theirs.

    Components of theirs that bear a name of ours get another.
    """
    if not theirs:
        return ours
    theirs = _renamed(theirs, ours)
    paths = dict(ours["paths"])
    for path, item in theirs.get("paths", {}).items():
        if path not in OURS:
            paths[path] = {**paths.get(path, {}), **item}
    components = {
        kind: {**ours["components"].get(kind, {}), **theirs.get("components", {}).get(kind, {})}
        for kind in {**ours["components"], **theirs.get("components", {})}
    }
    tags = [*ours["tags"], *theirs.get("tags", [])]
    return {
        **ours,
        "info": theirs.get("info", ours["info"]),
        "tags": tags,
        "paths": paths,
        "components": components,
    }


def _renamed(theirs: Json, ours: Json) -> Json:
    """Their document, with `App` before the names of components that ours has too."""
    taken = {
        f"#/components/{kind}/{name}": f"#/components/{kind}/App{name}"
        for kind, named in theirs.get("components", {}).items()
        for name in named
        if name in ours["components"].get(kind, {})
    }
    if not taken:
        return theirs
    components = {
        kind: {
            f"App{name}" if f"#/components/{kind}/{name}" in taken else name: value
            for name, value in named.items()
        }
        for kind, named in theirs["components"].items()
    }
    found: Json = _links_changed({**theirs, "components": components}, taken)
    return found


def _links_changed(value: Any, taken: MutableMapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_links_changed(item, taken) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: taken.get(item, item) if key == "$ref" and isinstance(item, str) else _links_changed(item, taken)
        for key, item in value.items()
    }
