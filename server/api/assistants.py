"""Assistants: create, read, change, delete, search; versions; what their graphs look like.

Wherever an id of an assistant is asked for, the name of a graph stands for its automatic assistant
(contract/resources.md 3).
"""

from starlette.requests import Request
from starlette.responses import Response

from ..errors import Invalid
from . import paging, requests
from .context import caller, services
from .responses import json, no_content
from .schemas.assistants import (
    AssistantCreate,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    VersionChoice,
    VersionSearch,
    assistant_view,
    version_view,
)

XRAY_MAX = 1_000
_XRAY = {"": False, "false": False, "False": False, "true": True, "True": True}


async def create(request: Request) -> Response:
    """Make an assistant."""
    asked = await requests.body(request, AssistantCreate)
    assistant = await services(request).assistants.create(
        caller(request), asked.assistant_id, asked.to_change(), asked.if_exists
    )
    return json(assistant_view(assistant))


async def get(request: Request) -> Response:
    """One assistant."""
    return json(assistant_view(await services(request).assistants.get(caller(request), _id(request))))


async def patch(request: Request) -> Response:
    """Change an assistant, which makes a version."""
    change = (await requests.body(request, AssistantPatch)).to_change()
    return json(
        assistant_view(await services(request).assistants.patch(caller(request), _id(request), change))
    )


async def delete(request: Request) -> Response:
    """Delete an assistant with its versions; with `delete_threads` also the threads that last used it."""
    with_threads = requests.flag(request, "delete_threads")
    await services(request).assistants.delete(caller(request), _id(request), with_threads=with_threads)
    return no_content()


async def search(request: Request) -> Response:
    """The assistants that a filter describes."""
    asked = await requests.body(request, AssistantSearch)
    page = asked.to_page()
    found, total = await services(request).assistants.search(caller(request), asked.to_query(), page)
    rows = [paging.selected(assistant_view(assistant), asked.select) for assistant in found]
    return json(rows, headers=paging.headers(page, total))


async def count(request: Request) -> Response:
    """How many assistants a filter describes."""
    query = (await requests.body(request, AssistantFilter)).to_query()
    return json(await services(request).assistants.count(caller(request), query))


async def versions(request: Request) -> Response:
    """The versions of an assistant, newest first."""
    asked = await requests.body(request, VersionSearch)
    found = await services(request).assistants.versions(
        caller(request), _id(request), asked.metadata, asked.to_page()
    )
    return json([version_view(version) for version in found])


async def latest(request: Request) -> Response:
    """Make an old version the present one."""
    version = (await requests.body(request, VersionChoice)).version
    assistant = await services(request).assistants.set_latest(caller(request), _id(request), version)
    return json(assistant_view(assistant))


async def graph(request: Request) -> Response:
    """The graph as nodes and edges; with `xray` those of its subgraphs too."""
    return json(await services(request).graphs.draw(caller(request), _id(request), _xray(request)))


async def schemas(request: Request) -> Response:
    """The JSON schemas of the graph's input, output, state, config and context."""
    return json(await services(request).graphs.schemas(caller(request), _id(request)))


async def subgraphs(request: Request) -> Response:
    """The schemas of the graphs inside the graph, or of the one in the path, by namespace."""
    namespace = request.path_params.get("namespace")
    recurse = requests.flag(request, "recurse")
    return json(
        await services(request).graphs.subgraphs(caller(request), _id(request), namespace, recurse=recurse)
    )


def _id(request: Request) -> str:
    """An id or a graph's name: the service knows the graphs."""
    return str(request.path_params["assistant_id"])


def _xray(request: Request) -> bool | int:
    """How many levels to expand; True is all. Raises Invalid."""
    text = request.query_params.get("xray", "")
    if text in _XRAY:
        return _XRAY[text]
    if text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= XRAY_MAX:
        return int(text)
    raise Invalid(f"xray: must be true, false or a whole number from 1 to {XRAY_MAX}")
