"""Where graphs run: event loops on threads of their own, off the loop that serves HTTP.

A lane is one thread with one event loop. The runs of one graph share a lane, because the clients and pools
that a graph's module made at import belong to one loop; two graphs never share one, so code that blocks its
loop delays nobody else (docs/decisions/0003). While a lane is blocked, new runs of its graph get a spare.
Synchronous nodes run on one large pool of threads.
"""

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType
from typing import Any, Generic, TypeVar

import structlog

from .. import loops
from ..telemetry.levels import Pool

T = TypeVar("T")
_log = structlog.get_logger(__name__)

BLOCKED_SECONDS = 0.1  # a loop that does not answer for so long is blocked
LOOK_SECONDS = 0.05


class Job(Generic[T]):
    """A coroutine on its way on a lane. `done` resolves when it has really ended, also after `cancel`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self.done: Future[T] = Future()
        self._loop = loop
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._start, work)

    def cancel(self, allowed: Callable[[], bool] = lambda: True) -> None:
        """Cancel the coroutine if `allowed`, asked on its own thread, still says so; any thread.

        It has always begun by then: one that had not could not say how it ended.
        """
        # One turn of the loop later: the task is made in this turn at the latest, and begins in the next.
        self._loop.call_soon_threadsafe(self._loop.call_soon, self._cancel, allowed)

    def _start(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._finish)

    def _cancel(self, allowed: Callable[[], bool]) -> None:
        if self._task is not None and allowed():
            self._task.cancel()

    def _finish(self, task: "asyncio.Task[T]") -> None:
        if self.done.done():
            return  # whoever waited gave up
        if task.cancelled():
            self.done.cancel()
        elif (failure := task.exception()) is not None:
            self.done.set_exception(failure)
        else:
            self.done.set_result(task.result())


class Lane:
    """A thread with an event loop that nothing but the end of the process stops."""

    def __init__(self, name: str, pool: ThreadPoolExecutor) -> None:
        self.name = name
        self.active = 0
        self._loop = loops.make()
        self._loop.set_default_executor(pool)
        self._asked: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"lane {name}", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Job[T]:
        """Run a coroutine here."""
        self.active += 1
        job = Job(self._loop, work)
        job.done.add_done_callback(self._done)
        return job

    def _done(self, _: "Future[Any]") -> None:
        self.active -= 1

    @property
    def blocked_seconds(self) -> float:
        """For how long a question to the loop has gone unanswered."""
        asked = self._asked
        return 0.0 if asked is None else time.monotonic() - asked

    def ask(self) -> None:
        """Have the loop show that it turns."""
        if self._asked is None:
            self._asked = time.monotonic()
            self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._asked = None

    def frame(self) -> FrameType | None:
        """What the thread is doing now."""
        return _frames().get(self._thread.ident or 0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # A loop lets these two through a task into the loop. The task has ended with them and its
                # run will say so; a graph must not be able to stop the server (contract/runs.md 12).
                continue


def _frames() -> dict[int, FrameType]:
    """What every thread is doing now.

    Should the garbage collector run meanwhile and a thread end, Python before 3.11.9 and 3.12.3 stops for
    ever (cpython issue 106883).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if collects:
            gc.enable()


class Threads(ThreadPoolExecutor):
    """Where synchronous nodes run. A thread is made when it is needed."""

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """While entered, one of the threads does nothing but wait for what may need a thread itself."""
        self._max_workers += 1
        with suppress(RuntimeError):  # closed
            self.submit(lambda: None)  # so that work which is queued gets the thread now
        try:
            yield
        finally:
            self._max_workers -= 1

    def pool(self) -> Pool:
        idle: int = self._idle_semaphore._value
        return Pool(max(0, len(self._threads) - idle), self._max_workers, self._work_queue.qsize())


class Lanes:
    """Finds a lane for a graph. Used from the loop that serves HTTP only."""

    def __init__(self, isolation: str, threads_max: int) -> None:
        self._isolation = isolation
        self._pool = Threads(threads_max, thread_name_prefix="node")
        self._lanes: dict[str, list[Lane]] = {}
        self._named: set[tuple[str, str]] = set()

    def submit(self, graph_id: str, work: Coroutine[Any, Any, T]) -> Job[T]:
        """Run a coroutine of a graph on one of its lanes."""
        return self._lane(graph_id).submit(work)

    def submit_reading(self, work: Coroutine[Any, Any, T]) -> Job[T]:
        """Run something that asks a graph without running it (its state): must work while it is blocked."""
        return self._first_free(" reading").submit(work)

    def one_thread_more(self) -> AbstractContextManager[None]:
        """While entered, synchronous nodes have one thread more."""
        return self._pool.one_more()

    def _lane(self, graph_id: str) -> Lane:
        if self._isolation == "shared":
            return self._first_free(" shared")
        if self._isolation == "run":
            return next((lane for lane in self._of(graph_id) if not lane.active), None) or self._open(
                graph_id
            )
        return self._first_free(graph_id)

    def _of(self, name: str) -> list[Lane]:
        return self._lanes.setdefault(name, [])

    def _first_free(self, name: str) -> Lane:
        free = (lane for lane in self._of(name) if lane.blocked_seconds < BLOCKED_SECONDS)
        return next(free, None) or self._open(name)

    def _open(self, name: str) -> Lane:
        lane = Lane(name, self._pool)
        self._of(name).append(lane)
        return lane

    async def watch(self, describe: Callable[[FrameType], dict[str, Any] | None]) -> None:
        """Look after the lanes for ever: ask each busy one, and name what blocks it, once a place."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for lane in [lane for lanes in self._lanes.values() for lane in lanes]:
                if lane.blocked_seconds >= BLOCKED_SECONDS:
                    self._name(lane, describe)
                elif lane.active:
                    lane.ask()

    def _name(self, lane: Lane, describe: Callable[[FrameType], dict[str, Any] | None]) -> None:
        frame = lane.frame()
        found = describe(frame) if frame else None
        if found and (key := (lane.name, str(found["line"]))) not in self._named:
            self._named.add(key)
            _log.warning(
                "a graph blocks its event loop: use await, or a synchronous node",
                **{"graph": lane.name, **found},
            )

    def blocked(self) -> dict[str, float]:
        """For how many seconds the loops of a graph have not answered: of each the one that is worst."""
        return {name: max(lane.blocked_seconds for lane in lanes) for name, lanes in self._lanes.items()}

    def pool(self) -> Pool:
        """The threads of synchronous nodes."""
        return self._pool.pool()

    def close(self) -> None:
        """Take no more synchronous work. Threads are daemons: what hangs in them ends with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)
