"""What others notice while one graph calls `time.sleep` in an async node.

Probes leave on a fixed schedule whether or not the last one is back, so that a stall is counted in full.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from ..api import Api, run_path
from ..client import Tokens
from ..lineup import Lineup
from ..processes import Subject
from ..report import Row, Target
from ..stats import Figure, milliseconds, percentile

PAUSE_SECONDS = 0.02
BEFORE_SECONDS = 0.5
OK_EVERY_SECONDS = 0.025
CANCEL_EVERY_SECONDS = 0.25
NEW_RUN_EVERY_SECONDS = 0.5

Probe = Callable[[], Awaitable[float]]


@dataclass(slots=True)
class Delays:
    """Milliseconds that others waited."""

    ok: list[float] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    cancels: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)


async def measure(lineup: Lineup) -> list[Row]:
    seconds = 2.0 if lineup.quick else 5.0
    delays: dict[str, Delays] = {}
    async with lineup.start_bare() as subject:
        delays["bare"] = await _watch(subject, seconds, cancels=False)
    async with lineup.fresh_graphwire() as fresh:
        if fresh is not None:
            delays["graphwire"] = await _watch(fresh, seconds, cancels=True)
    return [
        *_rows(delays, "ok", "/ok", Target(50)),
        *_rows(delays, "frames", "another stream's frames", Target(50)),
        *_rows(delays, "cancels", "a cancel, done", Target(50)),
        *_rows(delays, "first_tokens", "first token of a new run", None),
    ]


def _rows(delays: dict[str, Delays], kind: str, name: str, target: Target | None) -> list[Row]:
    samples = {subject: getattr(each, kind) for subject, each in delays.items() if getattr(each, kind)}
    rows = []
    for percent, label in ((50, "p50"), (99, "p99"), (100, "max")):
        shown = {subject: Figure.over([percentile(each, percent)]) for subject, each in samples.items()}
        limit = target if percent == 99 else None
        rows.append(Row(f"while a graph blocks: {name} {label}", "ms", shown, target=limit))
    return rows


async def _watch(subject: Subject, seconds: float, *, cancels: bool) -> Delays:
    delays, api = Delays(), subject.api
    async with AsyncExitStack() as stack:
        runs = await _idle_runs(api, stack, round(seconds / CANCEL_EVERY_SECONDS) if cancels else 0)
        threads = await api.threads(round(seconds / NEW_RUN_EVERY_SECONDS))
        tokens = Tokens()
        watched = asyncio.create_task(_watched_stream(api, tokens, BEFORE_SECONDS + seconds + 1))
        await asyncio.sleep(BEFORE_SECONDS)
        begun = time.monotonic_ns()
        blocking = asyncio.create_task(_block(api, seconds))
        await asyncio.sleep(0.1)
        await asyncio.gather(
            _probe(lambda: _ok(api), OK_EVERY_SECONDS, seconds, delays.ok),
            _probe(
                lambda: _cancel(api, runs.pop()), CANCEL_EVERY_SECONDS, seconds * bool(runs), delays.cancels
            ),
            _probe(
                lambda: _first_token(api, threads.pop()), NEW_RUN_EVERY_SECONDS, seconds, delays.first_tokens
            ),
        )
        await blocking
        delays.frames = _lateness(tokens, begun, time.monotonic_ns())
        await watched
    return delays


async def _idle_runs(api: Api, stack: AsyncExitStack, count: int) -> list[str]:
    """Runs to cancel, and where they live."""
    paths = []
    for thread_id in await api.threads(count):
        connection = await stack.enter_async_context(api.connection())
        paths.append(run_path(await api.start(connection, thread_id, "idle", Tokens(), seconds=60)))
    return paths


async def _probe(send: Probe, every_seconds: float, seconds: float, into: list[float]) -> None:
    probes = []
    for _ in range(round(seconds / every_seconds)):
        probes.append(asyncio.create_task(_timed(send, into)))
        await asyncio.sleep(every_seconds)
    await asyncio.gather(*probes)


async def _timed(send: Probe, into: list[float]) -> None:
    into.append(await send())


async def _ok(api: Api) -> float:
    sent = time.monotonic_ns()
    await api.ok()
    return milliseconds(time.monotonic_ns() - sent)


async def _cancel(api: Api, path: str) -> float:
    sent = time.monotonic_ns()
    async with api.connection() as connection:
        await api.call(connection, "POST", f"{path}/cancel?wait=true", None)
    return milliseconds(time.monotonic_ns() - sent)


async def _first_token(api: Api, thread_id: str) -> float:
    tokens = Tokens()
    sent = time.monotonic_ns()
    async with api.connection() as connection:
        await api.stream(connection, thread_id, "stream", tokens)
    return milliseconds(tokens.arrived[0] - sent)


async def _block(api: Api, seconds: float) -> None:
    async with api.connection() as connection:
        await api.stream(connection, await api.thread(connection), "block", Tokens(), seconds=seconds)


async def _watched_stream(api: Api, tokens: Tokens, seconds: float) -> None:
    async with api.connection() as connection:
        count = round(seconds / PAUSE_SECONDS)
        thread_id = await api.thread(connection)
        await api.stream(connection, thread_id, "stream", tokens, n=count, pause=PAUSE_SECONDS)


def _lateness(tokens: Tokens, begun: int, ended: int) -> list[float]:
    """How late each frame came that was due between `begun` and `ended`, by the rhythm of the whole stream.

    Emission times would not show it: a graph that is held up emits late.
    """
    pause = int(PAUSE_SECONDS * 1e9)
    pairs = list(zip(tokens.numbers, tokens.arrived, strict=True))
    origin = min(arrived - number * pause for number, arrived in pairs)
    due = ((origin + number * pause, arrived) for number, arrived in pairs)
    return [milliseconds(arrived - expected) for expected, arrived in due if begun <= expected <= ended]
