"""How far the server grows when 8 readers of 10,000 tokens each never read, though the runs go on."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ..api import Api, run_path
from ..client import Connection, Tokens
from ..floor_process import Floor
from ..lineup import Lineup
from ..processes import Subject
from ..report import Row, Target
from ..stats import Figure

READERS = 8
TOKENS = 10_000
WARM_UP_TOKENS = 100
RECEIVE_BYTES = 4096
RUN_SECONDS_MAX = 90.0
SETTLE_SECONDS = 3.0  # a server may tidy up after runs, once a second or so
WATCH_SECONDS = 0.05
POLL_SECONDS = 1.0  # rarely, not to be part of what is measured


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes above the start: when all runs are over, and at most on the way."""

    after: int
    peak: int


async def measure(lineup: Lineup) -> list[Row]:
    tokens = 2000 if lineup.quick else TOKENS
    stalled: dict[str, Growth] = {}
    reading: dict[str, Growth] = {}
    async with lineup.fresh_graphwire() as subject:
        if subject is not None:
            stalled["graphwire"] = await _server(subject, tokens, stall=True)
    async with lineup.fresh_graphwire() as subject:
        if subject is not None:
            reading["graphwire"] = await _server(subject, tokens, stall=False)
    async with lineup.start_bare() as subject:
        reading["bare"] = await _server(subject, tokens, stall=False)
    async with lineup.start_floor() as floor:
        reading["floor"] = await _floor(floor, tokens)
    return [
        *_rows(f"{READERS} stalled readers × {tokens} tokens", stalled, Target(40)),
        *_rows(f"{READERS} readers who read × {tokens} tokens", reading, None),
    ]


def _rows(name: str, grown: dict[str, Growth], target: Target | None) -> list[Row]:
    after = {subject: _megabytes(growth.after) for subject, growth in grown.items()}
    peak = {subject: _megabytes(growth.peak) for subject, growth in grown.items()}
    note = (
        "after the last run; while runs go on, langchain-core keeps each run's chunks: see the floor's peak"
    )
    return [
        Row(f"{name}, growth", "MB", after, target=target, note=note if target else ""),
        Row(f"{name}, peak", "MB", peak),
    ]


def _megabytes(grown_bytes: float) -> Figure:
    return Figure.over([grown_bytes / 1e6])


async def _server(subject: Subject, tokens: int, *, stall: bool) -> Growth:
    await _run_all(subject.api, WARM_UP_TOKENS, stall=False, settle_seconds=0)
    return await _watch(subject.memory_bytes, _run_all(subject.api, tokens, stall=stall))


async def _floor(floor: Floor, tokens: int) -> Growth:
    await floor.measure("burst", streams=READERS, tokens=WARM_UP_TOKENS)
    return await _watch(floor.memory_bytes, _settled(floor.measure("burst", streams=READERS, tokens=tokens)))


async def _settled(work: Awaitable[object], seconds: float = SETTLE_SECONDS) -> None:
    await work
    await asyncio.sleep(seconds)


async def _watch(memory_bytes: Callable[[], int], work: Awaitable[None]) -> Growth:
    before = after = peak = memory_bytes()
    running = asyncio.ensure_future(work)
    while not running.done():
        after = memory_bytes()
        peak = max(peak, after)
        await asyncio.sleep(WATCH_SECONDS)
    await running
    return Growth(after - before, peak - before)


async def _run_all(api: Api, tokens: int, *, stall: bool, settle_seconds: float = SETTLE_SECONDS) -> None:
    """The connections stay open until the server has settled: nothing is freed by their closing."""
    async with AsyncExitStack() as stack:
        threads = await api.threads(READERS)
        limit = RECEIVE_BYTES if stall else None
        connections = [await stack.enter_async_context(api.connection(limit)) for _ in threads]
        pairs = zip(connections, threads, strict=True)
        runs = asyncio.gather(*(_run(api, *pair, tokens, stall=stall) for pair in pairs))
        await _settled(runs, settle_seconds)


async def _run(api: Api, connection: Connection, thread_id: str, tokens: int, *, stall: bool) -> None:
    exchange = await api.start(connection, thread_id, "stream", Tokens(), stall=stall, n=tokens)
    if not stall:
        await exchange.done
        return
    async with api.connection() as other:
        deadline = time.monotonic() + RUN_SECONDS_MAX
        while json.loads(await api.call(other, "GET", run_path(exchange)))["status"] in (
            "pending",
            "running",
        ):
            if time.monotonic() > deadline:
                raise TimeoutError("a run whose reader does not read is held up by it")
            await asyncio.sleep(POLL_SECONDS)
