"""Liveness, version and the documents about this API."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from ..errors import Overloaded, RequestError
from .context import backend, door, http
from .page import page
from .prefix import root_of
from .responses import json

_PROJECT_SCHEMA = Path(__file__).with_name("langgraph.schema.json")


async def ok(request: Request) -> Response:
    """The server answers; with `check_db`, it is ready for requests as well: else 503. So while it stops.

    With `live` it is 200 as long as the process answers, also while it stops: nobody should end it for that.
    """
    if "meta" in http(request).disabled:
        return json({"ok": True})
    if _flag(request, "live"):
        return json({"ok": True, "services": {}})
    if backend(request).draining:
        raise Overloaded("The server is stopping.")
    if _flag(request, "check_db"):
        await backend(request).health.check()
    return json({"ok": True, "services": {}})


def _flag(request: Request, name: str) -> bool:
    """Every whole number but 0 is yes (contract/resources.md 2); the reference does not know the words."""
    text = request.query_params.get(name, "0")
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text) != 0
    except ValueError:
        raise RequestError(f"{name}: must be a whole number") from None


async def info(request: Request) -> Response:
    """What server this is."""
    return json(backend(request).info)


async def openapi(request: Request) -> Response:
    """The OpenAPI document, made from the routes and schemas themselves."""
    return json({**door(request).openapi, "servers": [{"url": root_of(request) or "/"}]})


async def project_schema(request: Request) -> Response:
    """The JSON schema of langgraph.json, for editors."""
    return Response(_PROJECT_SCHEMA.read_bytes(), media_type="application/json")


async def docs(request: Request) -> Response:
    """The document as a page; it needs nothing from the network."""
    return page()
