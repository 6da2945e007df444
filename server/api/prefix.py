"""The mount prefix: everything lies under it, and at the root only what probes look for."""

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from .responses import json

AT_ROOT = frozenset({"/", "/ok", "/metrics"})  # contract/resources.md 11


class Prefixed:
    """An application under a path, by ASGI's `root_path`."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            root, path = scope.get("root_path", ""), scope["path"]
            if _lies_under(path, root + self._prefix):
                scope["root_path"] = root + self._prefix
            elif self._prefix and path.removeprefix(root) not in AT_ROOT:
                await _missing(scope, receive, send)
                return
            _say_once(scope)
        await self._app(scope, receive, send)


def _lies_under(path: str, root: str) -> bool:
    return path == root or path.startswith(root + "/")


def _say_once(scope: Scope) -> None:
    """Take a root away that is there twice: the SDKs put the path of `Location` behind their base URL."""
    root: str = scope.get("root_path", "")
    if root and _lies_under(scope["path"], root + root):
        scope["path"] = scope["path"].removeprefix(root)


async def _missing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    await json({"detail": HTTPException(404).detail}, 404)(scope, receive, send)


def root_of(request: HTTPConnection) -> str:
    """The path under which the caller found the API, for links to other parts of it; "" at the root."""
    root: str = request.scope.get("root_path", "")
    return root if root and _lies_under(request.scope["path"], root) else ""
