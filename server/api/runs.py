"""Runs of a thread: start and stream, start and wait, read, join, cancel (contract/runs.md 2)."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from ..clock import now
from ..errors import Invalid
from ..models import Run, RunPage, RunRequest, RunStatus
from ..streaming.broker import BEGINNING
from . import following, requests
from .context import caller, configurable, services
from .following import vanishing
from .prefix import root_of
from .responses import json, no_content
from .schemas.runs import COLUMNS, RunCreate, admitted_view, run_view

LIST_MAX = 1_000
OFFSET_MAX = 2**31
IDEMPOTENCY_KEY_MAX = 255


async def stream(request: Request) -> Response:
    """Start a run on a thread and stream what it emits."""
    thread_id = requests.path_id(request, "thread_id")
    run, asked = await start(request, thread_id)
    vanish = vanishing(run, asked)
    return following.follow(request, run.run_id, BEGINNING, locations(request, run, "stream"), vanish)


async def wait(request: Request) -> Response:
    """Start a run on a thread and answer with its final values."""
    thread_id = requests.path_id(request, "thread_id")
    run, asked = await start(request, thread_id)
    vanish = vanishing(run, asked)
    return following.await_end(request, thread_id, run.run_id, locations(request, run, "join"), vanish)


async def create(request: Request) -> Response:
    """Start a run on a thread in the background."""
    run, _ = await start(request, requests.path_id(request, "thread_id"))
    return json(
        admitted_view(run), headers={"content-location": locations(request, run, "")["content-location"]}
    )


async def listing(request: Request) -> Response:
    """The runs of a thread, newest first (contract/runs.md 2)."""
    thread_id = requests.path_id(request, "thread_id")
    status = requests.choice(request, "status", ("", *RunStatus))
    limit = requests.number(request, "limit", 10, LIST_MAX)
    offset = requests.number(request, "offset", 0, OFFSET_MAX)
    columns = requests.words(request, "select")
    if unknown := sorted(columns.difference(COLUMNS)):
        raise Invalid(f"select: {', '.join(unknown)} not among {', '.join(COLUMNS)}")
    page = RunPage(limit, offset, RunStatus(status) if status else None)
    found = [run_view(run) for run in await services(request).runs.page(caller(request), thread_id, page)]
    return json([{key: run[key] for key in run if not columns or key in columns} for run in found])


async def join_end(request: Request) -> Response:
    """The result of a run that exists, when it is there (contract/runs.md 10)."""
    thread_id, run_id = requests.path_id(request, "thread_id"), requests.path_id(request, "run_id")
    result = await services(request).readers.returned(caller(request), thread_id, run_id)
    path = f"{root_of(request)}/threads/{thread_id}/runs/{run_id}"
    location = {"location": f"{path}/join", "content-location": path}
    if result is not None:
        return json(result, headers=location)
    vanish = await following.stopping(request, thread_id, run_id)
    return following.await_end(request, thread_id, run_id, location, vanish)


async def get(request: Request) -> Response:
    """One run."""
    thread_id, run_id = requests.path_id(request, "thread_id"), requests.path_id(request, "run_id")
    return json(run_view(await services(request).runs.get(caller(request), thread_id, run_id)))


async def delete(request: Request) -> Response:
    """Delete a run with its checkpoints; one that is under way is stopped first."""
    thread_id, run_id = requests.path_id(request, "thread_id"), requests.path_id(request, "run_id")
    await services(request).removal.delete(caller(request), thread_id, run_id)
    return no_content()


async def join(request: Request) -> Response:
    """The stream of a run that exists: from now, or after `Last-Event-ID` (contract/runs.md 8)."""
    thread_id, run_id = requests.path_id(request, "thread_id"), requests.path_id(request, "run_id")
    path = f"{root_of(request)}/threads/{thread_id}/runs/{run_id}"
    return await following.join_stream(request, thread_id, run_id, path)


async def cancel(request: Request) -> Response:
    """Stop a run; with `wait` the answer comes when it has stopped."""
    thread_id, run_id = requests.path_id(request, "thread_id"), requests.path_id(request, "run_id")
    action = stop_action(request)
    wait = requests.flag(request, "wait")
    await services(request).runs.cancel(caller(request), thread_id, run_id, action, wait=wait)
    if not wait:
        return no_content(202)
    path = f"{root_of(request)}/threads/{thread_id}/runs/{run_id}"
    return json({}, headers={"location": f"{path}/join", "content-location": path})


def stop_action(request: Request) -> str:
    """How to stop runs: interrupt or rollback; `keep_partial` makes it keep or drop. Raises Invalid."""
    action = requests.choice(request, "action", ("interrupt", "rollback"))
    if "keep_partial" not in request.query_params:
        return action
    keep = requests.flag(request, "keep_partial")
    if action == "rollback":
        if keep:
            raise Invalid("keep_partial: a rollback keeps nothing")
        return action
    return "keep" if keep else "drop"


async def start(request: Request, thread_id: str | None) -> tuple[Run, RunRequest]:
    """Read the body and admit the run."""
    arrived_at = now()
    body = await requests.body(request, RunCreate)
    asked = replace(
        body.to_request(),
        idempotency_key=idempotency_key(request),
        arrived_at=arrived_at,
        headers=configurable(request),
    )
    return await services(request).runs.create(caller(request), thread_id, asked), asked


def idempotency_key(request: Request) -> str | None:
    """The header that makes a repeated call harmless. Raises Invalid."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= IDEMPOTENCY_KEY_MAX and key.isascii() and key.isprintable()):
        raise Invalid(f"Idempotency-Key: must be 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters")
    return key


def locations(request: Request, run: Run, end: str) -> dict[str, str]:
    """Where the run is and where to go on after a cut. Clients take the run's id from the first."""
    path = f"{root_of(request)}/threads/{run.thread_id}/runs/{run.run_id}"
    return {"location": f"{path}/{end}", "content-location": path}
