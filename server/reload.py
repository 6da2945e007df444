"""Reloading: a parent watches the project and starts the server, its child, again when a file changes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

import click
from watchfiles import Change, watch

IGNORED = {".graphwire", ".venv", "venv", "node_modules", "__pycache__", ".git"}
GRACE_SECONDS = 5.0
LOOK_MS = 200


def run_reloading(config: Path) -> int:
    """Serve until a signal comes or the first start fails; returns the exit status."""
    reading, writing = os.pipe()
    try:
        # The child sees the pipe close when this process is gone, however it went.
        return Reloader(config, _this_command("--no-reload", "--parent", str(reading)), reading).run()
    finally:
        os.close(reading)
        os.close(writing)


def _this_command(*more: str) -> list[str]:
    """The command that started this process, be it `graphwire` or `python -m server`, with more flags."""
    arguments = sys.argv[1:]
    beginning = sys.orig_argv[1 : len(sys.orig_argv) - len(arguments)]
    return [sys.executable, *beginning, *arguments, *more]


class Reloader:
    """The parent: one child at a time, and the changes that end it."""

    def __init__(self, config: Path, command: list[str], pipe: int) -> None:
        self._root = Path(os.path.abspath(config)).parent
        self._config_name = config.name
        self._command = command
        self._pipe = pipe
        self._stopping = threading.Event()
        self._restarted = False
        self._reported = False

    def run(self) -> int:
        self._child = self._start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        # Without a directory there is nothing to watch, and the child says what is wrong.
        if not self._root.is_dir():
            return _status(self._child.wait())
        for changes in self._watch():
            if changes:
                self._restart(changes)
            elif (status := self._child.poll()) is not None and not self._reported:
                if not self._restarted:
                    return _status(status)
                self._reported = True
                click.echo(
                    f"graphwire: stopped with status {_status(status)}; waiting for a change.", err=True
                )
        self._end_child()
        return 0

    def _start(self) -> "subprocess.Popen[bytes]":
        # A terminal sends Ctrl-C to both. The child is born deaf to it, for it would print where it was.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return subprocess.Popen(self._command, pass_fds=(self._pipe,))
        finally:
            signal.signal(signal.SIGINT, before)

    def _watch(self) -> Iterable[set[tuple[Change, str]]]:
        return watch(
            self._root,
            watch_filter=lambda _, path: self.matters(Path(path)),
            stop_event=self._stopping,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )

    def matters(self, path: Path) -> bool:
        # Only the part below the root counts: the project itself may lie in somebody's node_modules.
        parts = path.relative_to(self._root).parts
        if IGNORED.intersection(parts):
            return False
        return path.suffix == ".py" or path.name == self._config_name or path.name.startswith(".env")

    def _restart(self, changes: set[tuple[Change, str]]) -> None:
        names = sorted({str(Path(path).relative_to(self._root)) for _, path in changes})
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        click.echo(f"graphwire: changed: {', '.join(names[:3])}{more}; starting again.", err=True)
        self._end_child()
        self._restarted, self._reported = True, False
        if not self._stopping.is_set():
            self._child = self._start()

    def _end_child(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stopping.is_set():
            self._child.kill()
        self._stopping.set()


def _status(returned: int) -> int:
    """The exit status as a shell shows it: 128 and the number of the signal that killed the process."""
    return returned if returned >= 0 else 128 - returned
