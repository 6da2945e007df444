"""Servers that start fast: fifty starts for the price of one.

A start costs more than a second, nearly all of it imports. A test that kills server after server takes them
from a process that has imported everything once and forks. What runs is the same command line with its own
port, connections and threads, in a process of its own that dies of SIGKILL like any other.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_server import REPO, Server, start, stop

FORKER = Path(__file__).parent / "forker.py"


class Forked:
    """A process that somebody else's child is, with the part of Popen that servers need."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._over = False

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended; how it ended is its parent's to know."""
        if not self._over:
            if not select.select([self._descriptor], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked server", timeout or 0)
            os.close(self._descriptor)
            self._over = True
        return 0

    def send_signal(self, number: int) -> None:
        if not self._over:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forker:
    """Starts servers by forking; all of them end with it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(FORKER)],
            cwd=REPO,
            env=os.environ | {"PYTHONPATH": str(REPO), "PYTHONMALLOC": "malloc", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started: list[Server] = []

    def start(self, folder: Path, config: Path, **env: str) -> Server:
        """Start a server and wait until it answers."""
        self._started.append(start(folder, config, launch=self._launch, **env))
        return self._started[-1]

    def _launch(self, arguments: list[str], env: dict[str, str], log: Path) -> Forked:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"arguments": arguments, "env": env, "log": str(log)}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return Forked(int(self._process.stdout.readline()))

    def close(self) -> None:
        for server in self._started:
            stop(server)
        self._process.communicate()


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    forker = Forker()
    yield forker
    forker.close()
