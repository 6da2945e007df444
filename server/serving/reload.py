"""Reloading: a parent watches the project and starts the server, its child, again when a file changes.

Most of a start is imports that no change of the project changes. So beside the child that serves there is a
spare one, which has done those and waits for its turn: a change of code is served in well under a second.
"""

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
SPARE_LOOKS = 5  # between a start and that of the spare, which must not slow it down


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
        self._spare: Spare | None = None
        self._looks = 0  # since the last start

    def run(self) -> int:
        self._child = self._start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        # Without a directory there is nothing to watch, and the child says what is wrong.
        if not self._root.is_dir():
            return _status(self._child.wait())
        for changes in self._watch():
            self._looks += 1
            if changes:
                self._restart(changes)
            elif self._looks == SPARE_LOOKS and self._spare is None and self._child.poll() is None:
                self._spare = Spare(self._command, self._pipe)
            elif (status := self._child.poll()) is not None and not self._reported:
                if not self._restarted:
                    return _status(status)
                self._reported = True
                click.echo(
                    f"graphwire: stopped with status {_status(status)}; waiting for a change.", err=True
                )
        self._end_child()
        self._discard_spare()
        return 0

    def _start(self) -> "subprocess.Popen[bytes]":
        self._looks = 0
        spare, self._spare = self._spare, None
        if spare is not None and spare.begin():
            return spare.process
        return _born_deaf(self._command, self._pipe)

    def _discard_spare(self) -> None:
        if self._spare is not None:
            self._spare.discard()
        self._spare = None

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
        if any(Path(path).suffix != ".py" for _, path in changes):
            self._discard_spare()  # it has read the project file and the environment as they were
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


class Spare:
    """A child that has imported what does not change, and waits for its turn."""

    def __init__(self, command: list[str], pipe: int) -> None:
        reading, self._turn = os.pipe()
        try:
            self.process = _born_deaf([*command, "--turn", str(reading)], pipe, reading)
        finally:
            os.close(reading)

    def begin(self) -> bool:
        """Its turn has come. False when it is there no more."""
        try:
            os.write(self._turn, b"!")
        except OSError:  # nobody reads
            return False
        finally:
            os.close(self._turn)
        return self.process.poll() is None

    def discard(self) -> None:
        """It is not needed; without its pipe it would end by itself."""
        os.close(self._turn)
        self.process.kill()
        self.process.wait()


def await_turn(pipe: int) -> None:
    """In the spare: wait until the parent says so; end when it is gone."""
    if not os.read(pipe, 1):
        os._exit(0)
    os.close(pipe)


def _born_deaf(command: list[str], *pipes: int) -> "subprocess.Popen[bytes]":
    """A terminal sends Ctrl-C to all. Children are born deaf to it, for they would print where they were."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.Popen(command, pass_fds=pipes)
    finally:
        signal.signal(signal.SIGINT, before)


def _status(returned: int) -> int:
    """The exit status as a shell shows it: 128 and the number of the signal that killed the process."""
    return returned if returned >= 0 else 128 - returned
