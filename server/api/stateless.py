"""Runs without a thread: a hidden one is made and goes with the run (contract/runs.md 16).

The reference's locations lead to 404; ours name the hidden thread, so that a cut stream can be resumed.
"""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from ..models import Run
from ..streaming.broker import BEGINNING
from . import following, requests, runs
from .context import caller, configurable, services
from .prefix import root_of
from .responses import json, no_content
from .schemas.runs import RunCreate, RunsCancel, admitted_view

BATCH_MAX = 100


async def stream(request: Request) -> Response:
    """Start a run without a thread and stream what it emits."""
    run, asked = await runs.start(request, None)
    location = {**runs.locations(request, run, "stream"), "content-location": _named(request, run)}
    return following.follow(request, run.run_id, BEGINNING, location, following.vanishing(run, asked))


async def create(request: Request) -> Response:
    """Start a run without a thread in the background."""
    run, _ = await runs.start(request, None)
    return json(admitted_view(run), headers={"content-location": _named(request, run)})


async def batch(request: Request) -> Response:
    """Start several runs without a thread, all or none (contract/runs.md 16)."""
    given = await requests.bodies(request, RunCreate, BATCH_MAX)
    asked = [replace(item.to_request(), headers=configurable(request)) for item in given]
    if key := runs.idempotency_key(request):
        asked = [replace(one, idempotency_key=f"{key}\n{number}") for number, one in enumerate(asked)]
    return json(
        [admitted_view(run) for run in await services(request).runs.create_batch(caller(request), asked)]
    )


async def cancel(request: Request) -> Response:
    """Stop several runs (contract/runs.md 14)."""
    action = runs.stop_action(request)
    which = (await requests.body(request, RunsCancel)).to_selection()
    await services(request).runs.cancel_many(caller(request), which, action)
    return no_content()


async def wait(request: Request) -> Response:
    """Start a run without a thread and answer with its final values."""
    run, asked = await runs.start(request, None)
    location = runs.locations(request, run, "join")
    return following.await_end(request, run.thread_id, run.run_id, location, following.vanishing(run, asked))


async def join(request: Request) -> Response:
    """The stream of a run whose thread the client does not know."""
    run_id = requests.path_id(request, "run_id")
    return await following.join_stream(request, None, run_id, f"{root_of(request)}/runs/{run_id}")


def _named(request: Request, run: Run) -> str:
    return f"{root_of(request)}/runs/{run.run_id}"
