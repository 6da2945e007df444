"""Liveness, version and the documents about this API."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from .context import backend
from .responses import json

_PAGE = Path(__file__).with_name("docs.html")


async def ok(request: Request) -> Response:
    """The server answers."""
    return json({"ok": True, "services": {}})


async def info(request: Request) -> Response:
    """What server this is."""
    return json(backend(request).info)


async def openapi(request: Request) -> Response:
    """The OpenAPI document, made from the routes and schemas themselves."""
    return json(request.app.state.openapi)


async def docs(request: Request) -> Response:
    """The document as a page; it needs nothing from the network."""
    return HTMLResponse(_PAGE.read_text(encoding="utf-8"))
