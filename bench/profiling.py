"""Where Graphwire's time goes under one load: `python -m bench.profiling LOAD`; py-spy must be installed.

py-spy samples every thread from outside; a function's share is of the samples in which some thread ran.
Named so because a `profile.py` here would hide the standard library's from the graphs' imports.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from .processes import Subject, allow_many_sockets
from .scenarios.first_token import first_token
from .scenarios.pacing import paced
from .scenarios.short_runs import on_threads, stateless
from .scenarios.throughput import firehose
from .server import graphwire

SHOWN = 35
SAMPLES_PER_SECOND = 500

LOADS: dict[str, Callable[[Subject], Awaitable[object]]] = {
    "first-token": first_token,
    "firehose-1": lambda subject: firehose(subject, 1, 2000),
    "firehose-10": lambda subject: firehose(subject, 10, 500),
    "firehose-100": lambda subject: firehose(subject, 100, 100),
    "pacing": lambda subject: paced(subject.api, 100),
    "short-runs": lambda subject: on_threads(subject, 100),
    "stateless": lambda subject: stateless(subject, 100),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.profiling", description=__doc__)
    parser.add_argument("load", choices=LOADS)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument(
        "--gil", action="store_true", help="only the thread that holds the interpreter's lock"
    )
    parser.add_argument("--lines", action="store_true", help="by line instead of by function")
    parser.add_argument("--raw", type=Path, help="keep the collapsed stacks in this file")
    return parser.parse_args()


async def record(given: argparse.Namespace, raw: Path) -> None:
    load = LOADS[given.load]
    async with graphwire() as subject:
        await load(subject)
        spy = await asyncio.create_subprocess_exec(
            *_command(given, subject, raw), stdout=asyncio.subprocess.DEVNULL
        )
        begun, count = time.monotonic(), 0
        while spy.returncode is None and time.monotonic() < begun + given.seconds:
            await load(subject)
            count += 1
        await spy.wait()
        print(f"{given.load}: {count} times in {time.monotonic() - begun:.1f} s")


def _command(given: argparse.Namespace, subject: Subject, raw: Path) -> list[str]:
    flags = ["--gil"] * given.gil + ["--function"] * (not given.lines)
    rate = ["--rate", str(SAMPLES_PER_SECOND), "--duration", str(given.seconds)]
    spy = str(Path(sys.executable).parent / "py-spy")
    return [
        spy,
        "record",
        "--pid",
        str(subject.pid),
        "--threads",
        "--format",
        "raw",
        "--output",
        str(raw),
        *rate,
        *flags,
    ]


def summarise(raw: str) -> str:
    """Own and total share of each thread and function, largest first."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    threads: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        threads[thread] += int(count)
        if frames:
            own[frames[-1]] += int(count)
        for frame in set(frames):
            total[frame] += int(count)
    everything = sum(threads.values())
    tables = (("thread", threads), ("own time", own), ("with what it calls", total))
    return "\n\n".join(_table(title, counts, everything) for title, counts in tables)


def _table(title: str, counts: Counter[str], everything: int) -> str:
    lines = [f"{100 * count / everything:5.1f} %  {name}" for name, count in counts.most_common(SHOWN)]
    return "\n".join([f"-- {title}", *lines])


def main() -> None:
    given = arguments()
    allow_many_sockets()
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as folder:
        raw = given.raw or Path(folder) / "stacks"
        uvloop.run(record(given, raw))
        print(summarise(raw.read_text()))


if __name__ == "__main__":
    main()
