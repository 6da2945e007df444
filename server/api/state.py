"""The state of a thread: read it, look back, change it (contract/resources.md 5)."""

from starlette.requests import Request
from starlette.responses import Response

from ..errors import Invalid
from ..models import HistoryRequest, Place, StateRequest
from . import requests
from .context import caller, services
from .responses import json
from .schemas.state import FIELDS, HISTORY_MAX, HistoryRead, StateRead, StateUpdate, is_field

LIMIT_DEFAULT = 1


async def get(request: Request) -> Response:
    """The latest state, live while a run is under way."""
    thread_id = requests.path_id(request, "thread_id")
    asked = StateRequest(subgraphs=requests.flag(request, "subgraphs"), select=_select(request))
    return json(await services(request).state.get(caller(request), thread_id, asked))


async def get_at(request: Request) -> Response:
    """The state at a checkpoint."""
    thread_id = requests.path_id(request, "thread_id")
    place = Place(checkpoint_id=requests.path_id(request, "checkpoint_id"))
    asked = StateRequest(place, requests.flag(request, "subgraphs"), _select(request))
    return json(await services(request).state.get(caller(request), thread_id, asked))


async def find(request: Request) -> Response:
    """The state at a checkpoint, or the latest of a subgraph."""
    thread_id = requests.path_id(request, "thread_id")
    asked = await requests.body(request, StateRead)
    return json(await services(request).state.get(caller(request), thread_id, asked.to_request()))


async def update(request: Request) -> Response:
    """Change the state, or fork it from a checkpoint."""
    thread_id = requests.path_id(request, "thread_id")
    asked = await requests.body(request, StateUpdate)
    written = await services(request).state_updates.update(caller(request), thread_id, asked.to_change())
    return json({"checkpoint": written, "configurable": written, "checkpoint_id": written["checkpoint_id"]})


async def history(request: Request) -> Response:
    """The latest states, newest first."""
    thread_id = requests.path_id(request, "thread_id")
    asked = HistoryRequest(
        limit=requests.number(request, "limit", LIMIT_DEFAULT, HISTORY_MAX),
        before=requests.query_id(request, "before"),
        select=_select(request),
    )
    return json(await services(request).state.history(caller(request), thread_id, asked))


async def search_history(request: Request) -> Response:
    """States of the past by checkpoint, namespace and metadata, newest first."""
    thread_id = requests.path_id(request, "thread_id")
    asked = await requests.body(request, HistoryRead)
    return json(await services(request).state.history(caller(request), thread_id, asked.to_request()))


def _select(request: Request) -> tuple[str, ...]:
    found = requests.words(request, "select")
    if unknown := sorted(name for name in found if not is_field(name)):
        raise Invalid(f"select: {', '.join(unknown)} not among {', '.join(FIELDS)}, values.<key>")
    return tuple(found)
