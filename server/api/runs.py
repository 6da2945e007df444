"""Runs of a thread: start and stream, start and wait, read, join, cancel (contract/runs.md 2)."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response

from ..errors import Invalid, NotFound, describe
from ..models import Run, RunPage, RunRequest, RunStatus
from ..streaming.broker import BEGINNING, Cursor, Cut
from ..streaming.encode import encode
from ..streaming.sse import frames, wants
from . import requests
from .context import backend, caller, services
from .responses import event_stream, json, live_json, no_content
from .schemas.runs import COLUMNS, RunCreate, admitted_view, run_view

LIST_MAX = 1_000
OFFSET_MAX = 2**31
_ENDING: set[asyncio.Task[bool]] = set()  # cancellations under way; the loop itself keeps tasks only weakly


async def stream(request: Request) -> Response:
    """Start a run on a thread and stream what it emits."""
    thread_id = requests.path_id(request, "thread_id")
    run, asked = await start(request, thread_id)
    return follow(request, run.run_id, BEGINNING, locations(run, "stream"), vanish=vanishing(run, asked))


async def wait(request: Request) -> Response:
    """Start a run on a thread and answer with its final values."""
    thread_id = requests.path_id(request, "thread_id")
    run, asked = await start(request, thread_id)
    return await_end(request, thread_id, run.run_id, locations(run, "join"), vanishing(run, asked))


async def create(request: Request) -> Response:
    """Start a run on a thread in the background."""
    run, _ = await start(request, requests.path_id(request, "thread_id"))
    return json(admitted_view(run), headers={"content-location": locations(run, "")["content-location"]})


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
    result = await services(request).runs.returned(caller(request), thread_id, run_id)
    path = f"/threads/{thread_id}/runs/{run_id}"
    location = {"location": f"{path}/join", "content-location": path}
    if result is not None:
        return json(result, headers=location)
    vanish = Vanish(thread_id, run_id) if requests.flag(request, "cancel_on_disconnect") else None
    return await_end(request, thread_id, run_id, location, vanish)


async def get(request: Request) -> Response:
    """One run."""
    thread_id, run_id = requests.path_id(request, "thread_id"), requests.path_id(request, "run_id")
    return json(run_view(await services(request).runs.get(caller(request), thread_id, run_id)))


async def join(request: Request) -> Response:
    """The stream of a run that exists: from now, or after `Last-Event-ID` (contract/runs.md 8)."""
    thread_id, run_id = requests.path_id(request, "thread_id"), requests.path_id(request, "run_id")
    return await join_stream(request, thread_id, run_id, f"/threads/{thread_id}/runs/{run_id}")


async def cancel(request: Request) -> Response:
    """Stop a run; with `wait` the answer comes when it has stopped."""
    thread_id, run_id = requests.path_id(request, "thread_id"), requests.path_id(request, "run_id")
    action = requests.choice(request, "action", ("interrupt", "rollback"))
    wait = requests.flag(request, "wait")
    await services(request).runs.cancel(caller(request), thread_id, run_id, action, wait=wait)
    if not wait:
        return no_content(202)
    path = f"/threads/{thread_id}/runs/{run_id}"
    return json({}, headers={"location": f"{path}/join", "content-location": path})


async def start(request: Request, thread_id: str | None) -> tuple[Run, RunRequest]:
    """Read the body and admit the run."""
    asked = (await requests.body(request, RunCreate)).to_request()
    return await services(request).runs.create(caller(request), thread_id, asked), asked


def locations(run: Run, end: str) -> dict[str, str]:
    """Where the run is and where to go on after a cut. Clients take the run's id from the first."""
    path = f"/threads/{run.thread_id}/runs/{run.run_id}"
    return {"location": f"{path}/{end}", "content-location": path}


async def join_stream(request: Request, thread_id: str | None, run_id: str, path: str) -> Response:
    """Follow a run from where the client left off."""
    last = request.headers.get("last-event-id")
    cursor = await services(request).runs.watch(caller(request), thread_id, run_id, last)
    location = {"location": f"{path}/stream", "content-location": path}
    vanish = None
    if thread_id is not None and requests.flag(request, "cancel_on_disconnect"):
        vanish = Vanish(thread_id, run_id)
    return follow(request, run_id, cursor, location, vanish=vanish)


class Vanish:
    """What to do when the client goes away before the run has ended: cancel the run (contract/runs.md 15)."""

    REASON = "client disconnected from the run stream (on_disconnect=cancel)"

    def __init__(self, thread_id: str, run_id: str) -> None:
        self.thread_id = thread_id
        self.run_id = run_id

    def __call__(self, request: Request) -> None:
        stop = services(request).runs.stop(self.thread_id, self.run_id, "interrupt", self.REASON)
        task = asyncio.get_running_loop().create_task(stop)
        _ENDING.add(task)
        task.add_done_callback(_ENDING.discard)


def vanishing(run: Run, asked: RunRequest) -> Vanish | None:
    return Vanish(run.thread_id, run.run_id) if asked.on_disconnect == "cancel" else None


def follow(
    request: Request, run_id: str, cursor: Cursor | None, location: dict[str, str], vanish: Vanish | None
) -> Response:
    """The stream of a run's log after a cursor; None: nothing is to come, the stream ends at once."""
    door = backend(request)
    wanted = wants(requests.words(request, "stream_mode"))

    async def parts() -> AsyncIterator[bytes]:
        if cursor is None:
            return
        over = False
        try:
            async for part in frames(door.broker, run_id, cursor, door.rhythm, wanted):
                yield part
            over = True
        except Cut:
            over = True  # the server goes, not the client
            raise
        finally:
            if not over and vanish is not None:
                vanish(request)

    return event_stream(parts(), location, door.send_timeout_seconds)


def await_end(
    request: Request, thread_id: str, run_id: str, location: dict[str, str], vanish: Vanish | None
) -> Response:
    """Blank lines on the heartbeat's grid, then the run's result (contract/runs.md 10)."""
    door = backend(request)

    async def parts() -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        beat, over = loop.time() + door.rhythm.seconds, False
        try:
            while (end := await door.broker.ended(run_id, beat - loop.time())) is None:
                if door.broker.thread_of(run_id) is None:
                    break
                yield b"\n"
                beat += door.rhythm.seconds
            over = True
            yield end.data if end else await _told_by_rows(request, thread_id, run_id)
        except Cut:
            over = True
            raise
        finally:
            if not over and vanish is not None:
                vanish(request)

    return live_json(parts(), location, door.send_timeout_seconds)


async def _told_by_rows(request: Request, thread_id: str, run_id: str) -> bytes:
    """The result of a run whose log is gone; an error in the form that clients know (contract/runs.md 10)."""
    try:
        return await services(request).runs.returned(caller(request), thread_id, run_id) or b"{}"
    except NotFound as gone:
        return encode({"__error__": describe(gone)})
