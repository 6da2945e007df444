"""The floor: the same graphs in a process without any server, driven by lines of JSON.

Each line on stdin is `{"measure": name, ...arguments}`; each line on stdout is that measure's result.
"""

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvloop
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from . import graphs
from .client import Tokens
from .processes import resident_bytes


async def consume(given: dict[str, Any], graph: Any = graphs.stream) -> Tokens:
    tokens = Tokens()
    async for chunk, _ in graph.astream(given, stream_mode="messages"):
        tokens.feed(chunk.content.encode(), time.monotonic_ns())
    return tokens


async def first_token() -> float:
    """Nanoseconds from the call to the first token."""
    sent = time.monotonic_ns()
    return (await consume({})).arrived[0] - sent


async def firehose(streams: int, tokens: int) -> float:
    """Tokens a second, of all streams together."""
    begun = time.monotonic()
    await asyncio.gather(*(consume({"n": tokens}) for _ in range(streams)))
    return streams * tokens / (time.monotonic() - begun)


async def paced(streams: int, tokens: int, pause: float) -> dict[str, Any]:
    """Added nanoseconds of every token, and how many are missing."""

    async def one(index: int) -> Tokens:
        await asyncio.sleep(index * pause * (1 + 1 / streams))
        return await consume({"n": tokens, "pause": pause})

    seen = await asyncio.gather(*(one(index) for index in range(streams)))
    added = [nanoseconds for each in seen for nanoseconds in each.added]
    return {"added": added, "missing": sum(each.missing(tokens) for each in seen)}


async def short_runs(runs: int, callers: int, saver: bool) -> float:
    """Runs a second, each on a thread of its own."""
    async with _short_graph(saver) as graph:
        waiting = iter(range(runs))
        begun = time.monotonic()
        await asyncio.gather(*(_call(graph, waiting) for _ in range(callers)))
        return runs / (time.monotonic() - begun)


async def _call(graph: Any, waiting: Iterator[int]) -> None:
    for _ in waiting:
        await graph.ainvoke({"n": 1}, {"configurable": {"thread_id": str(uuid4())}})


@asynccontextmanager
async def _short_graph(saver: bool) -> AsyncIterator[Any]:
    if not saver:
        yield graphs.short
        return
    with tempfile.TemporaryDirectory(prefix="bench-floor-") as folder:
        async with AsyncSqliteSaver.from_conn_string(
            str(Path(folder) / "checkpoints.sqlite")
        ) as checkpointer:
            await checkpointer.setup()
            yield graphs.short.copy(update={"checkpointer": checkpointer})


async def idle(streams: int) -> float:
    """Bytes by which the process grows for runs that are open and silent."""
    await asyncio.gather(*(consume({"seconds": 0.1}, graphs.idle) for _ in range(10)))
    gc.collect()
    before = resident_bytes(os.getpid())
    open_runs = [asyncio.create_task(consume({"seconds": 3600}, graphs.idle)) for _ in range(streams)]
    await asyncio.sleep(2)
    grown = resident_bytes(os.getpid()) - before
    for run in open_runs:
        run.cancel()
    await asyncio.gather(*open_runs, return_exceptions=True)
    return grown


async def burst(streams: int, tokens: int) -> int:
    """Long answers whose every token is read and dropped; the bench watches the memory from outside."""

    async def one() -> int:
        return sum([1 async for _ in graphs.stream.astream({"n": tokens}, stream_mode="messages")])

    return sum(await asyncio.gather(*(one() for _ in range(streams))))


MEASURES = {measure.__name__: measure for measure in (first_token, firehose, paced, short_runs, idle, burst)}


async def serve() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        arguments = json.loads(line)
        result = await MEASURES[arguments.pop("measure")](**arguments)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    uvloop.run(serve())
