"""What is measured: one file a scenario, each `measure(lineup) -> rows`."""

from collections.abc import Awaitable, Callable

from ..lineup import Lineup
from ..report import Row
from ..scenarios import (
    blocking,
    first_token,
    idle_streams,
    pacing,
    short_runs,
    stalled_readers,
    start,
    throughput,
)

Scenario = Callable[[Lineup], Awaitable[list[Row]]]

SCENARIOS: dict[str, Scenario] = {
    "start": start.measure,
    "first-token": first_token.measure,
    "throughput": throughput.measure,
    "pacing": pacing.measure,
    "short-runs": short_runs.measure,
    "idle-streams": idle_streams.measure,
    "stalled-readers": stalled_readers.measure,
    "blocking": blocking.measure,
}
