"""Servers that start fast: all of them for the price of one.

A start costs more than a second, nearly all of it imports. So servers are forked from a process that has
imported everything once (forker.py). What runs is the same command line with its own environment, port,
connections and threads, in a process of its own that dies of SIGKILL like any other. Whatever Python or a
library reads from the environment only once is the same in all of them: for that there is fix_server.spawn.
"""

import functools
import json
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

REPO = Path(__file__).parent.parent
FORKER = Path(__file__).parent / "forker.py"


class Forked:
    """A process that the forker's child is, with the part of Popen that tests need."""

    def __init__(self, forker: "Forker", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forker = forker
        self._descriptor = os.pidfd_open(pid)
        weakref.finalize(self, os.close, self._descriptor)
        self._ending = threading.Lock()

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, once it has."""
        if self.returncode is None and not self._ends(timeout):
            raise subprocess.TimeoutExpired("a forked server", timeout or 0)
        with self._ending:
            if self.returncode is None:
                self.returncode = self._forker.ask({"ended": self.pid})
        return self.returncode

    def _ends(self, seconds: float | None) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forker:
    """Starts servers by forking. It ends with this process, and all of them end with it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(FORKER)],
            cwd=REPO,
            env=os.environ | {"PYTHONPATH": str(REPO), "PYTHONMALLOC": "malloc", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._asking = threading.Lock()

    def launch(self, arguments: list[str], env: dict[str, str], log: Path) -> Forked:
        order = {"arguments": arguments, "env": os.environ | env, "log": str(log)}
        return Forked(self, self.ask(order))

    def ask(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._asking:
            print(json.dumps(order), file=self._process.stdin, flush=True)
            return int(self._process.stdout.readline())


@functools.cache
def the_forker() -> Forker:
    return Forker()


def fork(arguments: list[str], env: dict[str, str], log: Path) -> Forked:
    """The command line in a process of its own; what it says goes to the log."""
    return the_forker().launch(arguments, env, log)
