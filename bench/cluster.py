"""`python -m bench.cluster`: one process on SQLite beside the same server on PostgreSQL and Redis.

Four subjects take turns, so that a noisy minute is shared: embedded; `serve` on PostgreSQL and Redis; an
API process with one worker; an API process with two. Where the machine has too few cores for all of them
rates say little: the processor time that each part needs for a token or a run says where the limits are.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import uvloop

from .api import Api, run_body, run_path
from .client import Tokens
from .engines import Cluster, Engines, cluster, engines
from .lineup import figures, interleave
from .processes import allow_many_sockets
from .report import Row, Target, render
from .scenarios.first_token import first_token
from .scenarios.short_runs import on_threads
from .scenarios.throughput import TokensLost, firehose
from .sending import appends
from .server import graphwire
from .stats import Figure, milliseconds, percentile

SUBJECTS = ("embedded", "serve", "1 worker", "2 workers")
WARM_UP = 10
STREAMS = 10
CORES = os.cpu_count() or 1  # two workers, an API, PostgreSQL, Redis and the bench need five to show it
POLL_SECONDS = 0.05
SLOWED_SECONDS = 0.1
LONG_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Lineup:
    engines: Engines
    subjects: dict[str, Cluster]
    quick: bool

    def measures(
        self, measure: Callable[[Cluster], Awaitable[float]], *names: str
    ) -> dict[str, Callable[[], Awaitable[float]]]:
        return {name: (lambda each=self.subjects[name]: measure(each)) for name in names or self.subjects}  # type: ignore[misc]


async def measure_first_token(lineup: Lineup) -> list[Row]:
    measures = lineup.measures(lambda each: first_token(each.subject))
    await interleave(measures, WARM_UP)
    samples = await interleave(measures, 50 if lineup.quick else 300)
    return [
        Row(
            f"first token p{percent}",
            "ms",
            {name: Figure.over([milliseconds(percentile(each, percent))]) for name, each in samples.items()},
            target=Target(25) if percent == 50 else None,
        )
        for percent in (50, 99)
    ]


async def measure_streams(lineup: Lineup) -> list[Row]:
    """Tokens a second with a reader each, then without readers."""
    tokens, rounds = (500, 1) if lineup.quick else (2000, 5)
    read = await costs(lineup, lambda each: firehose(each.subject, STREAMS, tokens), rounds, STREAMS * tokens)
    unread = await costs(lineup, lambda each: background(each, STREAMS, tokens), rounds, STREAMS * tokens)
    return [
        *read.rows(f"{STREAMS} streams", "tokens/s", "µs", 1e6, "a token"),
        *unread.rows(f"{STREAMS} runs that nobody reads", "tokens/s", "µs", 1e6, "a token"),
    ]


async def measure_short_runs(lineup: Lineup) -> list[Row]:
    runs, rounds = (80, 1) if lineup.quick else (240, 5)
    await interleave(lineup.measures(lambda each: on_threads(each.subject, 40)), 1)
    found = await costs(lineup, lambda each: on_threads(each.subject, runs), rounds, 2 * runs)
    return found.rows("short runs", "runs/s", "ms", 1e3, "a run or a thread made")


async def measure_slow_cores(lineup: Lineup) -> list[Row]:
    """One worker and two where each gets a fifth of a core: what two bring where there are cores enough."""
    runs, tokens, rounds = 2 * STREAMS, 100 if lineup.quick else 300, 1 if lineup.quick else 5

    async def slowly(each: Cluster) -> float:
        async with slowed(each.roles["worker"]):
            return await background(each, runs, tokens)

    rates = await interleave(lineup.measures(slowly, "1 worker", "2 workers"), rounds)
    pairs = zip(rates["2 workers"], rates["1 worker"], strict=True)
    name = f"{runs} runs that nobody reads, a fifth of a core a worker"
    return [
        Row(name, "tokens/s", figures(rates)),
        Row(
            f"{name}, two workers to one",
            "×",
            {"2 workers": Figure.over([two / one for two, one in pairs])},
            target=Target(1.7, at_least=True),
        ),
    ]


@asynccontextmanager
async def slowed(pids: list[int]) -> AsyncIterator[None]:
    """Meanwhile these processes run for a fifth of the time, one after the other."""

    async def slow(pid: int, start_seconds: float) -> None:
        await asyncio.sleep(start_seconds)
        while True:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(SLOWED_SECONDS * 4 / 5)
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(SLOWED_SECONDS / 5)

    tasks = [
        asyncio.create_task(slow(pid, index * SLOWED_SECONDS / len(pids))) for index, pid in enumerate(pids)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def background(each: Cluster, runs: int, tokens: int) -> float:
    """Tokens a second of runs that nobody reads: asked for by their status."""
    api = each.subject.api
    threads = await api.threads(runs)
    async with api.connection() as connection:
        begun = time.monotonic()
        paths = []
        for thread_id in threads:
            body = run_body("stream", {"n": tokens})
            run = json.loads(await api.call(connection, "POST", f"/threads/{thread_id}/runs", body))
            paths.append(f"/threads/{thread_id}/runs/{run['run_id']}")
        for path in paths:
            while (await status(api, connection, path)) in ("pending", "running"):  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
        return runs * tokens / (time.monotonic() - begun)


async def status(api: Api, connection: object, path: str) -> str:
    return str(json.loads(await api.call(connection, "GET", path))["status"])  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Costs:
    """Rates of each subject, and what each part used of the processor for all of it, in seconds a unit."""

    rates: Mapping[str, list[float]]
    used: Mapping[str, Mapping[str, float]]

    def rows(self, name: str, unit: str, cost_unit: str, scale: float, each: str) -> list[Row]:
        rates = figures({subject: list(rounds) for subject, rounds in self.rates.items()})
        pairs = zip(self.rates["2 workers"], self.rates["1 worker"], strict=True)
        gain = {"2 workers": Figure.over([two / one for two, one in pairs])}
        goal = Target(1.7, at_least=True) if unit == "tokens/s" and CORES > 4 else None
        rows = [Row(name, unit, rates), Row(f"{name}, two workers to one", "×", gain, target=goal)]
        for part in ("serve", "api", "worker", "postgres", "redis"):
            shown = {
                subject: Figure.over([parts[part] * scale])
                for subject, parts in self.used.items()
                if part in parts
            }
            rows.append(Row(f"{name}, processor time of {part}, {each}", cost_unit, shown))
        return rows


async def costs(
    lineup: Lineup, work: Callable[[Cluster], Awaitable[float]], rounds: int, units: int
) -> Costs:
    used: dict[str, dict[str, float]] = {name: {} for name in lineup.subjects}

    def counted(name: str) -> Callable[[Cluster], Awaitable[float]]:
        async def one(each: Cluster) -> float:
            before = {**each.cpu(), **lineup.engines.cpu()}
            rate = await work(each)
            after = {**each.cpu(), **lineup.engines.cpu()}
            for part in before:
                if name != "embedded" or part == "serve":
                    spent = (after[part] - before[part]) / units / rounds
                    used[name][part] = used[name].get(part, 0.0) + spent
            return rate

        return one

    measures = {name: partial(counted(name), each) for name, each in lineup.subjects.items()}
    return Costs(await interleave(measures, rounds), used)


async def measure_redis(lineup: Lineup) -> list[Row]:
    """What live runs and their tokens keep in Redis, and what readers cost it."""
    each, name = lineup.subjects["1 worker"], "1 worker"
    runs, tokens, readers = (50, 500, 20) if lineup.quick else (200, 2000, 100)
    api = each.subject.api
    rows = []
    async with AsyncExitStack() as stack:
        before = await settled(lineup.engines, "used_memory")
        for thread_id in await api.threads(runs):
            connection = await stack.enter_async_context(api.connection())
            await api.start(connection, thread_id, "idle", Tokens(), seconds=LONG_SECONDS)
        grown = await settled(lineup.engines, "used_memory") - before
        rows.append(
            Row(f"Redis memory, {runs} live runs of one token", "kB/run", one(name, grown / runs / 1e3))
        )
        rows.append(
            Row(
                f"connections to PostgreSQL, {runs} live runs",
                "",
                one(name, lineup.engines.connections()),
                note="of all six processes that are there",
            )
        )
    before = await settled(lineup.engines, "used_memory")
    await firehose(each.subject, STREAMS, tokens)
    grown = await settled(lineup.engines, "used_memory") - before
    rows.append(
        Row("Redis memory, streams still to be replayed", "bytes/token", one(name, grown / STREAMS / tokens))
    )
    for count in (1, readers):
        before = lineup.engines.redis_info()
        await read_together(api, count, tokens)
        after = lineup.engines.redis_info()
        for key, unit, what in (
            ("total_commands_processed", "commands/token", "commands"),
            ("total_net_output_bytes", "bytes/token", "sent by it"),
        ):
            spent = (after[key] - before[key]) / tokens
            rows.append(Row(f"Redis, {count} readers of one run, {what}", unit, one(name, spent)))
    return rows


def one(name: str, value: float) -> dict[str, Figure]:
    return {name: Figure.over([value])}


async def settled(engines: Engines, key: str) -> float:
    """A figure of Redis when what was under way is over."""
    await asyncio.sleep(2)
    return engines.redis_info()[key]


async def read_together(api: Api, readers: int, tokens: int) -> None:
    """One run at a model's pace, all of whose tokens reach every reader."""
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(api.connection()) for _ in range(readers)]
        [thread_id] = await api.threads(1)
        seen = [Tokens() for _ in connections]
        first = await api.start(connections[0], thread_id, "stream", seen[0], n=tokens, pause=0.002)
        path = f"{run_path(first)}/stream"
        others = [c.send("GET", path, None, t.feed) for c, t in zip(connections[1:], seen[1:], strict=True)]
        await asyncio.gather(first.done, *(other.done for other in others))
        # Those who join see what comes from then on.
        if lost := sum(each.numbers != list(range(each.numbers[0], tokens)) for each in seen):
            raise TokensLost(f"{lost} of {readers} readers miss some of {tokens} tokens")


async def measure_appends(lineup: Lineup) -> list[Row]:
    """The log alone, without graphs: from one process into Redis, then read by another."""
    entries = 20_000 if lineup.quick else 100_000
    rounds = [await appends(lineup.engines, entries) for _ in range(1 if lineup.quick else 3)]
    return [
        Row(label, unit, {"1 worker": Figure.over([getattr(each, field) for each in rounds])})
        for label, unit, field in (
            ("log alone, one process writes 50 logs", "appends/s", "written"),
            ("log alone, another follows them", "entries/s", "read"),
            ("log alone, processor time of redis", "µs/entry", "redis"),
        )
    ]


SCENARIOS = {
    "first-token": measure_first_token,
    "streams": measure_streams,
    "slow-cores": measure_slow_cores,
    "short-runs": measure_short_runs,
    "redis": measure_redis,
    "appends": measure_appends,
}


@asynccontextmanager
async def lineup(names: list[str], quick: bool) -> AsyncIterator[Lineup]:
    async with AsyncExitStack() as stack:
        under = stack.enter_context(engines())
        subjects = {}
        for workers, name in enumerate(SUBJECTS, -1):
            if name in names and name == "embedded":
                embedded = await stack.enter_async_context(graphwire())
                subjects[name] = Cluster(embedded, {"serve": [embedded.pid or 0]})
            elif name in names:
                started = cluster(under, f"bench{workers}", workers=workers)
                subjects[name] = await stack.enter_async_context(started)
        yield Lineup(under, subjects, quick)


async def measure(given: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    async with lineup(given.subjects, given.quick) as subjects:
        for name in given.only:
            begun = time.monotonic()
            found = await SCENARIOS[name](subjects)
            load = os.getloadavg()[0]
            print(
                f"{name} ({time.monotonic() - begun:.0f} s, load {load:.1f})\n{render(found, SUBJECTS)}\n",
                flush=True,
            )
            rows += found
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME")
    parser.add_argument(
        "--subjects",
        nargs="+",
        choices=SUBJECTS,
        default=list(SUBJECTS),
        metavar="NAME",
        help="for first-token: who is there; others that idle take their part of the machine too",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and tokens")
    given = parser.parse_args()
    allow_many_sockets()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}\n")
    rows = uvloop.run(measure(given))
    print(render(rows, SUBJECTS))


if __name__ == "__main__":
    main()
