"""From the first instruction of the server's process to its first /ok, on an empty data directory."""

from ..lineup import Lineup, Measure, Starter, figures, interleave
from ..report import Row, Target


async def measure(lineup: Lineup) -> list[Row]:
    measures = {"bare": _start(lineup.start_bare)}
    if lineup.start_graphwire is not None:
        measures["graphwire"] = _start(lineup.start_graphwire)
    seconds = await interleave(measures, 1 if lineup.quick else 3)
    return [Row("start to /ok", "s", figures(seconds), target=Target(3.0))]


def _start(starter: Starter) -> Measure[float]:
    async def measure_one() -> float:
        async with starter() as subject:
            return subject.start_seconds

    return measure_one
