"""From sending the request to the first token: one stream at a time, idle server, thread made before."""

import time

from ..client import Tokens
from ..lineup import Lineup, figures, interleave
from ..processes import Subject
from ..report import Row, Target
from ..stats import Figure, milliseconds, percentile

WARM_UP = 10
GROUPS = 5


async def measure(lineup: Lineup) -> list[Row]:
    measures = lineup.measures(first_token, lambda: lineup.floor.measure("first_token"))
    await interleave(measures, WARM_UP)
    samples = await interleave(measures, 50 if lineup.quick else 200)
    medians = {name: [percentile(group, 50) for group in _groups(each)] for name, each in samples.items()}
    tails = {name: percentile(each, 99) for name, each in samples.items()}
    return [
        Row(
            "first token p50",
            "ms",
            figures(_in_ms(medians)),
            target=Target(2.5, to="bare"),
            note="aim: 8 ms",
        ),
        Row(
            "first token p99",
            "ms",
            {name: Figure.over([milliseconds(tail)]) for name, tail in tails.items()},
        ),
    ]


async def first_token(subject: Subject) -> float:
    tokens = Tokens()
    async with subject.api.connection() as connection:
        thread_id = await subject.api.thread(connection)
        sent = time.monotonic_ns()
        await subject.api.stream(connection, thread_id, "stream", tokens)
    return tokens.arrived[0] - sent


def _groups(samples: list[float]) -> list[list[float]]:
    size = len(samples) // GROUPS
    return [samples[index * size : (index + 1) * size] for index in range(GROUPS)]


def _in_ms(samples: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [milliseconds(each) for each in group] for name, group in samples.items()}
