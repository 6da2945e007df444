"""Runs of one token a second, 16 callers waiting for results: what a run costs besides its tokens."""

import asyncio
import time
from collections.abc import Iterator

from ..api import Api
from ..lineup import Lineup, Measure, figures, interleave
from ..processes import Subject
from ..report import Row, Target

CALLERS = 16


async def measure(lineup: Lineup) -> list[Row]:
    runs, rounds = (80, 1) if lineup.quick else (240, 3)

    def floor(saver: bool) -> Measure[float]:
        return lambda: lineup.floor.measure("short_runs", runs=runs, callers=CALLERS, saver=saver)

    threaded = await interleave(
        lineup.measures(lambda subject: on_threads(subject, runs), floor(saver=True)), rounds
    )
    hidden = await interleave(
        lineup.measures(lambda subject: stateless(subject, runs), floor(saver=False)), rounds
    )
    return [
        Row(
            "short runs, a thread each",
            "runs/s",
            figures(threaded),
            target=Target(0.5, to="floor", at_least=True),
            note="the floor is ainvoke with AsyncSqliteSaver on a file; the bare app keeps nothing",
        ),
        Row(
            "short runs, stateless",
            "runs/s",
            figures(hidden),
            note="the floor is ainvoke without a saver",
        ),
    ]


async def on_threads(subject: Subject, runs: int) -> float:
    """Runs a second, their threads made before."""
    paths = [f"/threads/{thread_id}/runs/wait" for thread_id in await subject.api.threads(runs)]
    return await rate(subject.api, paths)


async def stateless(subject: Subject, runs: int) -> float:
    return await rate(subject.api, ["/runs/wait"] * runs)


async def rate(api: Api, paths: list[str]) -> float:
    waiting = iter(paths)
    begun = time.monotonic()
    await asyncio.gather(*(_call(api, waiting) for _ in range(CALLERS)))
    return len(paths) / (time.monotonic() - begun)


async def _call(api: Api, waiting: Iterator[str]) -> None:
    async with api.connection() as connection:
        for path in waiting:
            await api.call(connection, "POST", path, {"assistant_id": "short", "input": {"n": 1}})
