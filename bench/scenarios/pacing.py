"""What is added to each token of 50 streams at 50 tokens a second: a chat's pace, many chats."""

import asyncio
from dataclasses import dataclass

from ..api import Api
from ..client import Tokens
from ..lineup import Lineup, figures, interleave
from ..processes import Subject
from ..report import Row, Target
from ..stats import milliseconds, percentile

STREAMS = 50
PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Round:
    """Added nanoseconds of every token that came, and how many did not."""

    added: list[int]
    missing: int


async def measure(lineup: Lineup) -> list[Row]:
    tokens = 75 if lineup.quick else 200

    async def server(subject: Subject) -> Round:
        return await paced(subject.api, tokens)

    async def floor() -> Round:
        arguments = {"streams": STREAMS, "tokens": tokens, "pause": PAUSE_SECONDS}
        return Round(**await lineup.floor.measure("paced", **arguments))

    results = await interleave(lineup.measures(server, floor), 1 if lineup.quick else 2)
    missing = {name: [float(sum(each.missing for each in rounds))] for name, rounds in results.items()}
    name = f"{STREAMS} streams × {1 / PAUSE_SECONDS:.0f} tokens/s"
    return [
        Row(f"{name}, added p50", "ms", figures(_percentiles(results, 50))),
        Row(f"{name}, added p99", "ms", figures(_percentiles(results, 99)), target=Target(25)),
        Row(f"{name}, lost", "tokens", figures(missing), target=Target(0)),
    ]


def _percentiles(results: dict[str, list[Round]], percent: float) -> dict[str, list[float]]:
    return {
        name: [milliseconds(percentile(each.added, percent)) for each in rounds]
        for name, rounds in results.items()
    }


async def paced(api: Api, tokens: int) -> Round:
    threads = await api.threads(STREAMS)
    seen = await asyncio.gather(
        *(_stream(api, thread_id, at, tokens) for at, thread_id in enumerate(threads))
    )
    added = [nanoseconds for each in seen for nanoseconds in each.added]
    return Round(added, sum(each.missing(tokens) for each in seen))


async def _stream(api: Api, thread_id: str, index: int, tokens: int) -> Tokens:
    """Starts are a pause and a bit apart, which spreads the streams evenly over the pause."""
    await asyncio.sleep(index * PAUSE_SECONDS * (1 + 1 / STREAMS))
    seen = Tokens()
    async with api.connection() as connection:
        await api.stream(connection, thread_id, "stream", seen, n=tokens, pause=PAUSE_SECONDS)
    return seen
