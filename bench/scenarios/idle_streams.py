"""What a silent open stream costs: 1,000 runs, each with its reader, then 1,000 readers of one run."""

import asyncio
import time
from contextlib import AsyncExitStack

from ..api import Api, run_path
from ..client import Tokens
from ..lineup import Lineup
from ..processes import Subject
from ..report import Row, Target
from ..stats import Figure

STREAMS = 1000
WARM_UP = 10
OPEN_SECONDS = 3600.0
SETTLE_SECONDS = 2.0
FIRST_TOKEN_SECONDS_MAX = 20.0
OPENING_AT_ONCE = 20


async def measure(lineup: Lineup) -> list[Row]:
    streams = 200 if lineup.quick else STREAMS
    runs: dict[str, Figure] = {}
    readers: dict[str, Figure] = {}
    note = ""
    async with lineup.fresh_graphwire() as subject:
        if subject is not None:
            seen, grown = await _open_runs(subject, streams)
            runs["graphwire"] = _kilobytes(grown, streams)
            note = (
                f"{sum(1 for tokens in seen if tokens.numbers)} of {streams} runs were running, not queued; "
            )
    async with lineup.fresh_graphwire() as subject:
        if subject is not None:
            readers["graphwire"] = _kilobytes(await _open_readers(subject, streams), streams)
    async with lineup.start_bare() as subject:
        _, grown = await _open_runs(subject, streams)
        runs["bare"] = _kilobytes(grown, streams)
    async with lineup.start_floor() as floor:
        runs["floor"] = _kilobytes(await floor.measure("idle", streams=streams), streams)
    note += "the floor is what LangGraph itself keeps for an open run"
    name = f"{streams} idle runs, a stream each"
    return [
        Row(name, "kB/stream", runs, note=note),
        Row(f"{name}, above the floor", "kB/stream", _above_floor(runs), target=Target(40)),
        Row(f"{streams} readers of one idle run", "kB/stream", readers, target=Target(40)),
    ]


def _above_floor(runs: dict[str, Figure]) -> dict[str, Figure]:
    """What the server adds to the run that LangGraph keeps anyway, and that no server can make smaller."""
    floor = runs["floor"].median
    return {name: Figure.over([figure.median - floor]) for name, figure in runs.items() if name != "floor"}


def _kilobytes(grown_bytes: float, streams: int) -> Figure:
    return Figure.over([grown_bytes / streams / 1000])


async def _open_runs(subject: Subject, streams: int) -> tuple[list[Tokens], int]:
    """The streams' tokens, and the bytes by which the server grew."""
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
        return seen, subject.memory_bytes() - before


async def _open(
    api: Api, stack: AsyncExitStack, gate: asyncio.Semaphore, thread_id: str, tokens: Tokens
) -> None:
    connection = await stack.enter_async_context(api.connection())
    async with gate:
        await api.start(connection, thread_id, "idle", tokens, seconds=OPEN_SECONDS)


async def _wait_for_tokens(seen: list[Tokens]) -> None:
    deadline = time.monotonic() + FIRST_TOKEN_SECONDS_MAX
    while time.monotonic() < deadline and not all(tokens.numbers for tokens in seen):  # noqa: ASYNC110
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
