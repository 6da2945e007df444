"""Following runs: their stream, the stream of a thread, their result; and readers that go away."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from ..errors import Invalid, NotFound, describe
from ..models import Run, RunRequest
from ..streaming.broker import END, Cursor, Cut
from ..streaming.encode import encode
from ..streaming.sse import RUN_MODES, THREAD_MODES, Read, frames, of_run, of_thread
from . import requests
from .again import asked_again
from .context import backend, caller, services
from .prefix import root_of
from .responses import event_stream, live_json, no_content

_ENDING: set[asyncio.Task[bool]] = set()  # cancellations under way; the loop itself keeps tasks only weakly


async def thread(request: Request) -> Response:
    """All that happens on a thread, run after run, for as long as the client stays (contract/runs.md 9).

    The reference sends no `Location`; with it the SDKs come back by themselves after a cut.
    """
    thread_id = requests.path_id(request, "thread_id")
    modes = requests.words(request, "stream_modes") | requests.words(request, "stream_mode")
    if unknown := sorted(modes.difference(THREAD_MODES)):
        raise Invalid(f"Invalid stream mode: {', '.join(unknown)}; there are {', '.join(THREAD_MODES)}")
    last = requests.last_event_id(request)
    place = None if last is None else _place(last)
    after = await services(request).readers.watch_thread(caller(request), thread_id, place)
    door = backend(request)
    read = asked_again(request, partial(door.broker.follow, thread_id), thread_id)
    shown = of_thread(modes or frozenset({RUN_MODES}))
    query = f"?stream_modes={','.join(sorted(modes))}" if modes else ""
    location = {"location": f"{root_of(request)}/threads/{thread_id}/stream{query}"}
    parts = frames(read, after, door.rhythm, shown, endless=True)
    return event_stream(parts, location, door.send_timeout_seconds)


def _place(last_event_id: str) -> Cursor:
    place = Cursor.parse_place(last_event_id)
    if place is None:
        raise Invalid("Invalid last-event-id: must be the id of an event of this stream")
    return place


async def join_stream(request: Request, thread_id: str | None, run_id: str, path: str) -> Response:
    """Follow a run from where the client left off."""
    last = requests.last_event_id(request)
    cursor = await services(request).readers.watch(caller(request), thread_id, run_id, last)
    location = {"location": f"{path}/stream", "content-location": path}
    if requests.LAST_EVENT_ID in request.query_params and await _exhausted(request, run_id, cursor):
        return no_content()  # EventSource stops on this; after a mere end it would come back for ever
    vanish = None if thread_id is None else await stopping(request, thread_id, run_id)
    return follow(request, run_id, cursor, location, vanish=vanish)


async def _exhausted(request: Request, run_id: str, cursor: Cursor | None) -> bool:
    """Whether a run has ended and nothing that this reader is shown is left of its log."""
    batch = None if cursor is None else await backend(request).broker.read(run_id, cursor, 0.0)
    if batch is None:
        return True
    shown = of_run(requests.words(request, "stream_mode"))
    over = bool(batch.entries) and batch.entries[-1].event == END
    return over and not any(shown(entry.event) for entry in batch.entries)


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


async def stopping(request: Request, thread_id: str, run_id: str) -> Vanish | None:
    """What a reader who only joins asks to be done when he leaves, which he must be allowed to do."""
    if not requests.flag(request, "cancel_on_disconnect"):
        return None
    await services(request).runs.may_cancel(caller(request), thread_id, run_id)
    return Vanish(thread_id, run_id)


def follow(
    request: Request, run_id: str, cursor: Cursor | None, location: dict[str, str], vanish: Vanish | None
) -> Response:
    """The stream of a run's log after a cursor; None: nothing is to come, the stream ends at once."""
    door = backend(request)
    read: Read = asked_again(
        request, partial(door.broker.read, run_id), partial(door.broker.thread_of, run_id)
    )
    shown = of_run(requests.words(request, "stream_mode"))

    async def parts() -> AsyncIterator[bytes]:
        if cursor is None:
            return
        over = False
        try:
            async for part in frames(read, cursor, door.rhythm, shown):
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
            while (result := await _result(request, thread_id, run_id, beat - loop.time())) is None:
                if loop.time() >= beat:
                    yield b"\n"
                    beat += door.rhythm.seconds
            over = True
            yield result
        except Cut:
            over = True
            raise
        finally:
            if not over and vanish is not None:
                vanish(request)

    return live_json(parts(), location, door.send_timeout_seconds)


async def _result(request: Request, thread_id: str, run_id: str, seconds: float) -> bytes | None:
    """The result of a run that ends within some seconds: from its log or, when that is gone, from its rows.

    A run that is gone is an error in the form that clients know (contract/runs.md 10).
    """
    broker = backend(request).broker
    end = await broker.ended(run_id, seconds)
    if end is not None:
        return end.data
    if await broker.thread_of(run_id) is not None:
        return None
    try:
        return await services(request).readers.returned(caller(request), thread_id, run_id)
    except NotFound as gone:
        return encode({"__error__": describe(gone)})
