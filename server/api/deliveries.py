"""The log of webhooks (docs/webhooks.md)."""

from starlette.requests import Request
from starlette.responses import Response

from . import requests
from .context import caller, services
from .responses import json
from .schemas.deliveries import delivery_view


async def listing(request: Request) -> Response:
    """The webhooks of a run and how their tries went, also when the run itself is gone."""
    thread_id, run_id = requests.path_id(request, "thread_id"), requests.path_id(request, "run_id")
    found = await services(request).deliveries.of_run(caller(request), thread_id, run_id)
    return json([delivery_view(delivery) for delivery in found])
