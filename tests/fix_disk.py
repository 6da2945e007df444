"""A disk that is full when the test says so: the system lets the server's files grow no further."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fix_server import Server

WAIT_SECONDS = 30.0


@contextmanager
def full_disk(server: Server, room_bytes: int = 0) -> Iterator[None]:
    """Meanwhile the server can store so many bytes and no more. Its log, which is small, goes on."""
    with file_size_limit(server, (server.data_dir / "graphwire.db-wal").stat().st_size + room_bytes):
        yield


@contextmanager
def file_size_limit(server: Server, size: int) -> Iterator[None]:
    """Meanwhile every write of the server beyond this size of a file fails."""
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, unlimited))
    try:
        yield
    finally:
        if server.alive():
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))


def until_logged(server: Server, text: str, times: int = 1) -> None:
    """Wait until the server has written this text so often."""
    until = time.monotonic() + WAIT_SECONDS
    while server.log.count(text) < times:
        assert time.monotonic() < until, f"{text!r} was not logged"


def ended(server: Server, run_path: str) -> dict[str, Any]:
    """The run, once it is over."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        run: dict[str, Any] = server.get(run_path)
        if run["status"] not in ("pending", "running"):
            return run
        assert time.monotonic() < until, f"the run is still {run['status']}"
