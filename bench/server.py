"""Graphwire itself, as a user starts it: embedded defaults, persistence on, a data directory of its own."""

import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .processes import HOST, Subject, free_port, running

CONFIG = Path("bench") / "langgraph.json"


def command(port: int) -> list[str]:
    """The command line after the interpreter's name."""
    address = ["--host", HOST, "--port", str(port)]
    return ["-m", "server", "serve", "--no-reload", "--config", str(CONFIG), *address]


@asynccontextmanager
async def graphwire() -> AsyncIterator[Subject]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-graphwire-", ignore_cleanup_errors=True) as folder:
        environment = {"GRAPHWIRE_DATA_DIR": str(Path(folder) / "data")}
        started = running([sys.executable, *command(port)], port, environment, Path(folder) / "log")
        async with started as subject:
            yield subject
