"""`make bench`: run the scenarios, print each row as it is known, then the whole table."""

import argparse
import os
import platform
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import uvloop

from .floor_process import floor
from .lineup import Lineup
from .processes import Subject, allow_many_sockets, bare
from .report import Row, render
from .scenarios import SCENARIOS
from .server import graphwire


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and tokens: about a minute")
    parser.add_argument("--baselines", action="store_true", help="without Graphwire")
    parser.add_argument("--url", help="measure this running server of bench/langgraph.json instead of ours")
    parser.add_argument("--pid", type=int, help="its process, for the memory scenarios")
    return parser.parse_args()


@asynccontextmanager
async def lineup(given: argparse.Namespace) -> AsyncIterator[Lineup]:
    async with AsyncExitStack() as stack:
        subject = None
        if given.url:
            address = urlsplit(given.url)
            subject = Subject(address.port or 80, given.pid, host=address.hostname or "127.0.0.1")
        elif not given.baselines:
            subject = await stack.enter_async_context(graphwire())
        yield Lineup(
            graphwire=subject,
            bare=await stack.enter_async_context(bare()),
            floor=await stack.enter_async_context(floor()),
            start_graphwire=None if given.url or given.baselines else graphwire,
            start_bare=bare,
            start_floor=floor,
            quick=given.quick,
        )


async def measure(given: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    async with lineup(given) as subjects:
        for name in given.only:
            begun = time.monotonic()
            found = await SCENARIOS[name](subjects)
            print(f"{name} ({time.monotonic() - begun:.0f} s)\n{render(found)}\n", flush=True)
            rows += found
    return rows


def main() -> None:
    given = arguments()
    allow_many_sockets()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}\n")
    begun = time.monotonic()
    rows = uvloop.run(measure(given))
    print(f"all ({time.monotonic() - begun:.0f} s)\n{render(rows)}")


if __name__ == "__main__":
    main()
