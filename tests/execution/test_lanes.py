"""Lanes keep graphs off each other's backs: one that blocks, exits or is cancelled harms no other."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from types import FrameType
from typing import Any

import pytest
from fix_server import REPO

from server.execution.lanes import Job, Lanes

LONG = 30.0


class Blocker:
    """Work that blocks its lane's loop, as careless user code does, until it is released."""

    def __init__(self) -> None:
        self.blocking, self.released = threading.Event(), threading.Event()

    async def __call__(self) -> None:
        self.blocking.set()
        assert self.released.wait(LONG)


@pytest.fixture
def blocker() -> Iterator[Blocker]:
    made = Blocker()
    yield made
    made.released.set()


def make(isolation: str = "graph") -> Lanes:
    return Lanes(isolation, threads_max=4)


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    made = make()
    yield made
    made.close()


async def ident() -> int:
    return threading.get_ident()


async def result(job: Job[Any]) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(job.done), LONG)


async def until_seen_blocked(lanes: Lanes, name: str) -> FrameType:
    """Watch until the lanes find one that is blocked; what its thread is doing."""
    found: asyncio.Future[FrameType] = asyncio.get_running_loop().create_future()

    def describe(frame: FrameType) -> dict[str, Any]:
        if not found.done():
            found.set_result(frame)
        return {"line": name}

    watching = asyncio.ensure_future(lanes.watch(describe))
    try:
        return await asyncio.wait_for(found, LONG)
    finally:
        watching.cancel()


# ------------------------------------------------------------------------------------- which lane


async def test_work_runs_off_the_loop_that_asks(lanes: Lanes) -> None:
    assert await result(lanes.submit("a", ident())) != threading.get_ident()


async def test_runs_of_one_graph_share_a_lane(lanes: Lanes) -> None:
    assert await result(lanes.submit("a", ident())) == await result(lanes.submit("a", ident()))


async def test_two_graphs_never_share_a_lane(lanes: Lanes) -> None:
    assert await result(lanes.submit("a", ident())) != await result(lanes.submit("b", ident()))


async def test_a_graph_called_like_our_reading_lane_is_just_a_graph(lanes: Lanes) -> None:
    assert await result(lanes.submit("reading", ident())) != await result(lanes.submit_reading(ident()))


async def test_shared_isolation_has_one_lane_for_all() -> None:
    lanes = make("shared")
    assert await result(lanes.submit("a", ident())) == await result(lanes.submit("b", ident()))


async def test_run_isolation_gives_each_run_a_lane_and_uses_idle_ones_again() -> None:
    lanes, both = make("run"), threading.Barrier(3)

    async def meet() -> int:
        await asyncio.to_thread(both.wait, LONG)
        return threading.get_ident()

    jobs = [lanes.submit("a", meet()) for _ in range(2)]
    await asyncio.to_thread(both.wait, LONG)
    first, second = [await result(job) for job in jobs]
    assert first != second
    assert await result(lanes.submit("a", ident())) in (first, second)


async def test_synchronous_work_runs_on_threads_of_the_pool(lanes: Lanes) -> None:
    async def name() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: threading.current_thread().name)

    assert (await result(lanes.submit("a", name()))).startswith("node")


# ------------------------------------------------------------------------------------- blocked lanes


async def test_a_blocked_lane_gives_its_graph_a_spare(lanes: Lanes, blocker: Blocker) -> None:
    lanes.submit("a", blocker())
    await until_seen_blocked(lanes, "x")
    assert await result(lanes.submit("a", ident()))  # though the first is still blocked
    assert not blocker.released.is_set()


async def test_a_blocked_graph_delays_no_other(lanes: Lanes, blocker: Blocker) -> None:
    lanes.submit("a", blocker())
    assert await asyncio.to_thread(blocker.blocking.wait, LONG)
    assert await result(lanes.submit("b", ident()))
    assert await result(lanes.submit_reading(ident()))


async def test_a_spare_is_used_again(lanes: Lanes, blocker: Blocker) -> None:
    lanes.submit("a", blocker())
    await until_seen_blocked(lanes, "x")
    assert await result(lanes.submit("a", ident())) == await result(lanes.submit("a", ident()))


async def test_a_lane_that_turns_again_is_the_first_choice_again(lanes: Lanes, blocker: Blocker) -> None:
    first = await result(lanes.submit("a", ident()))
    blocked = lanes.submit("a", blocker())
    await until_seen_blocked(lanes, "x")
    assert await result(lanes.submit("a", ident())) != first
    blocker.released.set()
    await result(blocked)
    answered = threading.Event()
    lanes._lanes["a"][0]._loop.call_soon_threadsafe(answered.set)  # after the question of the watch
    assert await asyncio.to_thread(answered.wait, LONG)
    assert await result(lanes.submit("a", ident())) == first


async def test_what_blocks_is_told_with_its_frame(lanes: Lanes, blocker: Blocker) -> None:
    lanes.submit("a", blocker())
    frame: FrameType | None = await until_seen_blocked(lanes, "x")
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    assert "__call__" in names


async def test_a_lane_that_waits_politely_is_not_blocked(lanes: Lanes) -> None:
    released = threading.Event()

    async def polite() -> None:
        assert await asyncio.to_thread(released.wait, LONG)

    job = lanes.submit("a", polite())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await lanes.watch(lambda frame: pytest.fail("taken for blocked"))
    released.set()
    await result(job)


# ------------------------------------------------------------------------------------- how work ends


async def test_an_exception_is_the_result_of_its_job_alone(lanes: Lanes) -> None:
    async def fail() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        await result(lanes.submit("a", fail()))
    assert await result(lanes.submit("a", ident()))


@pytest.mark.parametrize("failure", [SystemExit, KeyboardInterrupt])
async def test_a_task_that_wants_to_exit_leaves_the_lane_alive(
    lanes: Lanes, failure: type[BaseException]
) -> None:
    async def leave() -> None:
        raise failure

    before = await result(lanes.submit("a", ident()))
    job = lanes.submit("a", leave())
    assert isinstance(await asyncio.to_thread(job.done.exception, LONG), failure)
    assert await result(lanes.submit("a", ident())) == before


async def test_a_companion_of_one_that_exits_goes_on(lanes: Lanes) -> None:
    released = threading.Event()

    async def patient() -> str:
        await asyncio.to_thread(released.wait, LONG)
        return "done"

    async def leave() -> None:
        raise SystemExit(3)

    companion = lanes.submit("a", patient())
    leaving = lanes.submit("a", leave())
    await asyncio.to_thread(leaving.done.exception, LONG)
    released.set()
    assert await result(companion) == "done"


async def test_a_cancelled_job_is_done_only_when_its_code_has_ended(lanes: Lanes) -> None:
    begun, cleaning, cleaned = threading.Event(), threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await asyncio.to_thread(cleaned.wait, LONG)

    job = lanes.submit("a", work())
    assert await asyncio.to_thread(begun.wait, LONG)
    job.cancel()
    assert await asyncio.to_thread(cleaning.wait, LONG)
    assert not job.done.done()
    cleaned.set()
    await asyncio.wait([asyncio.wrap_future(job.done)], timeout=LONG)
    assert job.done.cancelled()


async def test_a_job_that_ignores_its_cancellation_has_its_result(lanes: Lanes) -> None:
    begun = threading.Event()

    async def stubborn() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "stayed"
        return "never"

    job = lanes.submit("a", stubborn())
    assert await asyncio.to_thread(begun.wait, LONG)
    job.cancel()
    assert await result(job) == "stayed"


async def test_a_job_cancelled_before_its_first_step_begins_all_the_same(
    lanes: Lanes, blocker: Blocker
) -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            return "said how it ended"
        return "was not cancelled"

    lanes.submit("a", blocker())
    job = lanes.submit("a", work())
    job.cancel()
    blocker.released.set()
    assert await result(job) == "said how it ended"


@pytest.mark.parametrize(("allowed", "ended"), [(True, "cancelled"), (False, "went on")])
async def test_the_cancellation_is_decided_where_the_work_runs(
    lanes: Lanes, allowed: bool, ended: str
) -> None:
    begun, decided = threading.Event(), threading.Event()
    deciders: list[int] = []

    def decide() -> bool:
        deciders.append(threading.get_ident())
        decided.set()
        return allowed

    async def work() -> str:
        begun.set()
        try:
            await asyncio.to_thread(decided.wait, LONG)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return "cancelled"
        return "went on"

    thread = await result(lanes.submit("a", ident()))
    job = lanes.submit("a", work())
    assert await asyncio.to_thread(begun.wait, LONG)
    job.cancel(decide)
    assert await result(job) == ended
    assert deciders == [thread]


@pytest.mark.parametrize("outcome", ["returns", "raises", "is cancelled"])
async def test_a_lane_counts_only_what_is_under_way(lanes: Lanes, outcome: str) -> None:
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        if outcome == "raises":
            raise LookupError
        if outcome == "is cancelled":
            await asyncio.Event().wait()

    job = lanes.submit("a", work())
    assert await asyncio.to_thread(begun.wait, LONG)
    if outcome == "is cancelled":
        job.cancel()
    await asyncio.wait([asyncio.wrap_future(job.done)], timeout=LONG)
    assert lanes._lanes["a"][0].active == 0


COLLECT_WHILE_LOOKING = """
import gc, os, threading
from concurrent.futures import ThreadPoolExecutor
from server.execution.lanes import Lane

class Ender:
    def __init__(self):
        self.itself = self

    def __del__(self):
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()

lane = Lane("any", ThreadPoolExecutor(1))
for _ in range(10):
    over = threading.Event()
    for _ in range(50):
        threading.Thread(target=over.wait).start()
    gc.disable()
    [Ender() for _ in range(10)]
    gc.set_threshold(gc.get_count()[0] + 20)  # one of the objects that tell of the threads sets it off
    gc.enable()
    assert lane.frame() is not None
    gc.set_threshold(700)
    assert gc.isenabled()
    over.set()
os._exit(0)
"""


def test_garbage_that_is_due_does_not_stop_who_looks_at_a_lane() -> None:
    program = [sys.executable, "-c", COLLECT_WHILE_LOOKING]
    assert subprocess.run(program, cwd=REPO, timeout=LONG, check=False).returncode == 0
