"""`python -m bench.overhead`: what metrics and the access log cost, by two servers that take turns."""

import argparse
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

import uvloop

from .processes import Subject, allow_many_sockets, free_port, running
from .scenarios.throughput import firehose
from .server import command

SILENT = {"GRAPHWIRE_METRICS": "false", "GRAPHWIRE_ACCESS_LOG": "false"}
LOADS = {1: 6000, 10: 1000, 100: 100}  # streams: tokens of each


@asynccontextmanager
async def server(environment: dict[str, str]) -> AsyncIterator[Subject]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-overhead-", ignore_cleanup_errors=True) as folder:
        own = {"GRAPHWIRE_DATA_DIR": str(Path(folder) / "data"), **environment}
        started = running([sys.executable, *command(port)], port, own, Path(folder) / "log")
        async with started as subject:
            yield subject


async def measure(rounds: int, settings: dict[str, str]) -> None:
    async with AsyncExitStack() as stack:
        with_it = await stack.enter_async_context(server(settings))
        without = await stack.enter_async_context(server(SILENT))
        for streams, tokens in LOADS.items():
            rates, costs = [], []
            for turn in range(rounds + 1):
                pair = [with_it, without] if turn % 2 else [without, with_it]
                found = {subject: await once(subject, streams, tokens) for subject in pair}
                if turn:  # the first warms up
                    rates.append(found[with_it][0] / found[without][0])
                    costs.append(found[with_it][1] / found[without][1])
            print(
                f"{streams:4} streams: tokens/s × {median(rates):.3f} ({min(rates):.3f}–{max(rates):.3f}), "
                f"processor time a token × {median(costs):.3f} ({min(costs):.3f}–{max(costs):.3f})",
                flush=True,
            )


async def once(subject: Subject, streams: int, tokens: int) -> tuple[float, float]:
    """(tokens a second, nanoseconds of processor time)"""
    before = cpu_ns(subject.pid or 0)
    rate = await firehose(subject, streams, tokens)
    return rate, cpu_ns(subject.pid or 0) - before


def cpu_ns(pid: int) -> int:
    """Nanoseconds of processor time of the threads that a process has."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("settings", nargs="*", help="NAME=VALUE of the server that is not silent")
    given = parser.parse_args()
    allow_many_sockets()
    uvloop.run(measure(given.rounds, dict(setting.split("=", 1) for setting in given.settings)))


if __name__ == "__main__":
    main()
