"""The floor as the bench sees it: a process to ask for measures. Only the other side loads LangGraph."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .processes import ROOT, resident_bytes

ANSWER_BYTES_MAX = 64 * 1024 * 1024


class Floor:
    """One measure at a time, by name, with the arguments of the function in `bench.floor`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def measure(self, name: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"measure": name, **arguments}).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the floor process ended during {name}")
        return json.loads(line)

    def memory_bytes(self) -> int:
        return resident_bytes(self._process.pid)


@asynccontextmanager
async def floor() -> AsyncIterator[Floor]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.floor",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=ANSWER_BYTES_MAX,
        cwd=ROOT,
    )
    try:
        yield Floor(process)
    finally:
        process.kill()
        await process.wait()
