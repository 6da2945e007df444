"""Server processes under measurement: start, wait for /ok, read their memory, stop."""

import asyncio
import os
import resource
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from .api import Api

HOST = "127.0.0.1"
START_SECONDS_MAX = 30.0
OK_PAUSE_SECONDS = 0.005
LOG_TAIL_BYTES = 2000
ROOT = Path(__file__).parent.parent


class DidNotStart(Exception):
    """The server process ended, or did not answer /ok in time."""


class Subject:
    """A running server: its address, and its process where there is one to look at."""

    def __init__(self, port: int, pid: int | None, start_seconds: float = 0.0, host: str = HOST) -> None:
        self.api = Api(host, port)
        self.pid = pid
        self.start_seconds = start_seconds

    def memory_bytes(self) -> int:
        """Resident memory of the server's process and its children."""
        if self.pid is None:
            raise DidNotStart("--pid is needed to read the memory of a server given by --url")
        return sum(resident_bytes(pid) for pid in _family(self.pid))


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in _family(int(child)))]


def allow_many_sockets() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(
    command: list[str], port: int, environment: Mapping[str, str], log_path: Path
) -> AsyncIterator[Subject]:
    """Run a server from its first instruction to /ok, then until the block ends."""
    begun = time.monotonic()
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log
        )
    try:
        await _wait_until_ok(process, port, begun + START_SECONDS_MAX, log_path)
        yield Subject(port, process.pid, time.monotonic() - begun)
    finally:
        if process.returncode is None:
            process.kill()  # open streams would make a polite end take as long as they last
        await process.wait()


async def _wait_until_ok(
    process: asyncio.subprocess.Process, port: int, deadline: float, log_path: Path
) -> None:
    api = Api(HOST, port)
    while time.monotonic() < deadline and process.returncode is None:
        try:
            return await api.ok()
        except OSError:
            await asyncio.sleep(OK_PAUSE_SECONDS)
    raise DidNotStart(f"exit status {process.returncode}, last output:\n{_tail(log_path)}")


def _tail(log_path: Path) -> str:
    return log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")


@asynccontextmanager
async def bare() -> AsyncIterator[Subject]:
    """The Starlette + sse-starlette app of `bench.bare`."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-bare-") as folder:
        command = [sys.executable, "-m", "bench.bare", str(port)]
        async with running(command, port, {}, Path(folder) / "log") as subject:
            yield subject
