"""The state of a thread (contract/resources.md 5)."""

from starlette.requests import Request
from starlette.responses import Response

from . import requests
from .context import caller, services
from .responses import json


async def get(request: Request) -> Response:
    """The latest state, live while a run is under way."""
    thread_id = requests.path_id(request, "thread_id")
    subgraphs = requests.flag(request, "subgraphs")
    return json(await services(request).state.get(caller(request), thread_id, subgraphs=subgraphs))
