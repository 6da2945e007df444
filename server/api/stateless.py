"""Runs without a thread: a hidden one is made and goes with the run (contract/runs.md 16).

The reference's locations lead to 404; ours name the hidden thread, so that a cut stream can be resumed.
"""

from starlette.requests import Request
from starlette.responses import Response

from ..streaming.broker import BEGINNING
from . import requests, runs


async def stream(request: Request) -> Response:
    """Start a run without a thread and stream what it emits."""
    run, asked = await runs.start(request, None)
    location = {**runs.locations(run, "stream"), "content-location": f"/runs/{run.run_id}"}
    return runs.follow(request, run.run_id, BEGINNING, location, vanish=runs.vanishing(run, asked))


async def wait(request: Request) -> Response:
    """Start a run without a thread and answer with its final values."""
    run, asked = await runs.start(request, None)
    return runs.await_end(request, run, asked)


async def join(request: Request) -> Response:
    """The stream of a run whose thread the client does not know."""
    run_id = requests.path_id(request, "run_id")
    return await runs.join_stream(request, None, run_id, f"/runs/{run_id}")
