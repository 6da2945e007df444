"""`python -m bench.searching`: searches among 100,000 threads, and what they do to the tokens beside them.

On SQLite, or with `--distributed` on a PostgreSQL and a Redis of its own. The database is filled with the
server's own tables before it starts. Searches of one kind follow each other without a pause while 20 streams
at 50 tokens a second go on; each kind is measured against its own silence.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import uvloop
from sqlalchemy import insert

from server.clock import new_id
from server.storage.checkpoints import open_saver
from server.storage.database import SqliteDatabase, Tx
from server.storage.migrate import migrate
from server.storage.postgres import PostgresDatabase
from server.storage.tables import threads

from .api import Api
from .client import Tokens
from .engines import engines
from .processes import free_port, running
from .server import command
from .stats import milliseconds, percentile

STREAMS = 20
PAUSE_SECONDS = 0.02
AT_ONCE = 5_000
VALUES = json.dumps({"messages": [{"type": "ai", "content": "x" * 100}] * 20}).encode()
COLUMNS = ["thread_id", "status", "metadata", "updated_at"]
SEARCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "an owner of 100 threads": ("search", {"metadata": {"owner": "u7"}}),
    "the graph of all threads": ("search", {"metadata": {"graph_id": "agent"}}),
    "an owner, without values": ("search", {"metadata": {"owner": "u7"}, "select": COLUMNS}),
    "an owner and a status": ("search", {"metadata": {"owner": "u7"}, "status": "interrupted"}),
    "an assistant of a quarter": ("search", {"metadata": {"graph_id": "agent", "assistant_id": "a1"}}),
    "a rare status": ("search", {"status": "interrupted"}),
    "by creation, extracting": (
        "search",
        {"sort_by": "created_at", "select": ["thread_id"], "extract": {"m": "values.messages[-1].content"}},
    ),
    "nobody": ("search", {"metadata": {"owner": "nobody"}}),
    "all, counted": ("count", {}),
    "the graph and a common status": ("search", {"metadata": {"graph_id": "agent"}, "status": "idle"}),
    "nested, without an index": ("search", {"metadata": {"nested": {"n": 1}}}),
}


def fill(database: SqliteDatabase | PostgresDatabase, count: int) -> None:
    migrate(database)
    open_saver(database)
    chance = random.Random(1)
    statuses = ["idle"] * 90 + ["interrupted"] * 7 + ["error"] * 3
    for start in range(0, count, AT_ONCE):
        rows = [_row(chance, number, statuses) for number in range(start, min(start + AT_ONCE, count))]

        def work(tx: Tx, rows: list[dict[str, Any]] = rows) -> None:
            tx.execute(insert(threads), rows)

        database.write_now(work)
    database.close()


def _row(chance: random.Random, number: int, statuses: list[str]) -> dict[str, Any]:
    made, changed = (f"2026-01-{chance.randrange(1, 29):02}T00:00:00.{number:06}+00:00" for _ in range(2))
    metadata = {
        "owner": f"u{chance.randrange(1_000)}",
        "graph_id": "agent",
        "assistant_id": f"a{number % 4}",
        "number": number,
        "nested": {"n": number % 1_000},
    }
    return {
        "thread_id": new_id(),
        "created_at": made,
        "updated_at": changed,
        "state_updated_at": changed,
        "metadata": metadata,
        "status": chance.choice(statuses),
        "config": {},
        "values": VALUES,
        "error": None,
        "interrupts": b"{}",
    }


async def tokens(api: Api, seconds: float) -> list[int]:
    """Nanoseconds that were added to each token of some streams."""
    count = round(seconds / PAUSE_SECONDS)

    async def one(thread_id: str, index: int) -> list[int]:
        await asyncio.sleep(index * PAUSE_SECONDS / STREAMS)
        seen = Tokens()
        async with api.connection() as connection:
            await api.stream(connection, thread_id, "stream", seen, n=count, pause=PAUSE_SECONDS)
        assert seen.missing(count) == 0
        return seen.added

    made = await api.threads(STREAMS)
    found = await asyncio.gather(*(one(thread_id, index) for index, thread_id in enumerate(made)))
    return [added for each in found for added in each]


async def searches(api: Api, operation: str, body: Any, end: asyncio.Event) -> list[int]:
    times = []
    async with api.connection() as connection:
        while not end.is_set():
            begun = time.monotonic_ns()
            await api.call(connection, "POST", f"/threads/{operation}", body)
            times.append(time.monotonic_ns() - begun)
    return times


def shown(times: list[int]) -> str:
    return "  ".join(f"{milliseconds(percentile(times, percent)):8.2f}" for percent in (50, 99))


def embedded(stack: ExitStack, folder: Path, count: int) -> dict[str, str]:
    """What makes a server run on threads in a file."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    fill(SqliteDatabase(data / "graphwire.db"), count)
    return {"GRAPHWIRE_DATA_DIR": str(data)}


def distributed(stack: ExitStack, folder: Path, count: int) -> dict[str, str]:
    under = stack.enter_context(engines())
    fill(PostgresDatabase(under.postgres.uri, schema="searching", connections=1), count)
    with psycopg.connect(under.postgres.uri, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")  # as autovacuum does a while after
    return under.environment("searching")


async def measure(count: int, seconds: float, on: Callable[[ExitStack, Path, int], dict[str, str]]) -> None:
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="bench-searching-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(made))
        environment = on(stack, folder, count)
        port = free_port()
        log = folder / "log"
        async with running([sys.executable, *command(port)], port, environment, log) as subject:
            print(f"{count} threads; ms, p50 and p99: the search | tokens beside it | tokens without it")
            for name, (operation, body) in SEARCHES.items():
                await searches_and_tokens(subject.api, name, operation, body, seconds)


async def searches_and_tokens(api: Api, name: str, operation: str, body: Any, seconds: float) -> None:
    alone = await tokens(api, seconds)
    end = asyncio.Event()
    searching = asyncio.create_task(searches(api, operation, body, end))
    beside = await tokens(api, seconds)
    end.set()
    print(f"{name:32} {shown(await searching)} | {shown(beside)} | {shown(alone)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.searching", description=__doc__)
    parser.add_argument("--threads", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--distributed", action="store_true", help="on PostgreSQL and Redis")
    given = parser.parse_args()
    uvloop.run(measure(given.threads, given.seconds, distributed if given.distributed else embedded))


if __name__ == "__main__":
    main()
