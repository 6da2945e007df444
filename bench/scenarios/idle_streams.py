"""What a silent open stream costs: 1,000 runs, each with its reader, then 1,000 readers of one run."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ..api import Api, run_path
from ..client import Tokens
from ..lineup import Lineup
from ..processes import Subject
from ..report import Row, Target
from ..stats import Figure

STREAMS = 1000
WARM_UP = 10
OPEN_SECONDS = 3600.0
SETTLE_SECONDS = 1.5
LULL_SECONDS = 1.5
OPENING_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Opened:
    """By how many bytes the subject grew, and how many of its runs were running, not waiting for a slot."""

    grown: int
    running: int


async def measure(lineup: Lineup) -> list[Row]:
    streams = 200 if lineup.quick else STREAMS
    opened: dict[str, Opened] = {}
    readers: dict[str, Figure] = {}
    async with lineup.fresh_graphwire() as subject:
        if subject is not None:
            opened["graphwire"] = await _open_runs(subject, streams)
    async with lineup.fresh_graphwire() as subject:
        if subject is not None:
            readers["graphwire"] = _kilobytes(await _open_readers(subject, streams), streams)
    async with lineup.start_bare() as subject:
        opened["bare"] = await _open_runs(subject, streams)
    async with lineup.start_floor() as floor:
        opened["floor"] = Opened(await floor.measure("idle", streams=streams), streams)
    return [
        *_rows(opened, streams),
        Row(f"{streams} readers of one idle run", "kB/stream", readers, Target(40)),
    ]


def _rows(opened: dict[str, Opened], streams: int) -> list[Row]:
    whole = {name: _kilobytes(each.grown, streams) for name, each in opened.items()}
    floor = opened["floor"].grown / streams
    above = {
        name: _kilobytes(each.grown - floor * each.running, streams)
        for name, each in opened.items()
        if name != "floor"
    }
    note = f"the floor is what LangGraph itself keeps for an open run; {_running(opened, streams)}"
    name = f"{streams} idle runs, a stream each"
    return [
        Row(name, "kB/stream", whole, note=note),
        Row(f"{name}, above the floor", "kB/stream", above, Target(40)),
    ]


def _running(opened: dict[str, Opened], streams: int) -> str:
    ours = opened.get("graphwire")
    return (
        ""
        if ours is None
        else f"of Graphwire's runs {ours.running} of {streams} were running, the others queued"
    )


def _kilobytes(grown_bytes: float, streams: int) -> Figure:
    return Figure.over([grown_bytes / streams / 1000])


async def _open_runs(subject: Subject, streams: int) -> Opened:
    await _warm_up(subject.api)
    threads = await subject.api.threads(streams)
    seen = [Tokens() for _ in threads]
    before = subject.memory_bytes()
    async with AsyncExitStack() as stack:
        gate = asyncio.Semaphore(OPENING_AT_ONCE)
        opening = (_open(subject.api, stack, gate, *each) for each in zip(threads, seen, strict=True))
        await asyncio.gather(*opening)
        await _wait_for_tokens(seen)
        await asyncio.sleep(SETTLE_SECONDS)
        running = sum(1 for tokens in seen if tokens.numbers)
        return Opened(subject.memory_bytes() - before, running)


async def _open(
    api: Api, stack: AsyncExitStack, gate: asyncio.Semaphore, thread_id: str, tokens: Tokens
) -> None:
    connection = await stack.enter_async_context(api.connection())
    async with gate:
        await api.start(connection, thread_id, "idle", tokens, seconds=OPEN_SECONDS)


async def _wait_for_tokens(seen: list[Tokens]) -> None:
    """Until every stream has spoken; runs that wait for a slot never will, so a lull ends it too."""
    spoken, since = -1, time.monotonic()
    while spoken < len(seen) and time.monotonic() < since + LULL_SECONDS:
        now = sum(1 for tokens in seen if tokens.numbers)
        if now > spoken:
            spoken, since = now, time.monotonic()
        await asyncio.sleep(0.1)


async def _open_readers(subject: Subject, readers: int) -> int:
    """Many joins of one run: what is left of an idle stream's cost when the run is counted once."""
    await _warm_up(subject.api)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(subject.api.connection())
        [thread_id] = await subject.api.threads(1)
        exchange = await subject.api.start(first, thread_id, "idle", Tokens(), seconds=OPEN_SECONDS)
        before = subject.memory_bytes()
        seen = [Tokens() for _ in range(readers)]
        for tokens in seen:
            connection = await stack.enter_async_context(subject.api.connection())
            connection.send("GET", f"{run_path(exchange)}/stream", None, tokens.feed)
        await _wait_for_tokens(seen)
        await asyncio.sleep(SETTLE_SECONDS)
        return subject.memory_bytes() - before


async def _warm_up(api: Api) -> None:
    """Code and caches that the first streams load are not the streams' cost."""
    for thread_id in await api.threads(WARM_UP):
        async with api.connection() as connection:
            await api.stream(connection, thread_id, "idle", Tokens(), seconds=0.01)
