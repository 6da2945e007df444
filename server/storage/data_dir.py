"""The directory of the embedded engine: private, one server's alone, and it knows how the last one left it.

The lock file is also the marker: `open <boot>` while a server is at work, `closed <size> <time>` once it
has left in order, with the size and the time of the database file as it left them.
"""

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ConfigError

MARKER_BYTES = 100  # one line of this length, written over in place: it fits when the disk is full
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def log_of(database: Path) -> Path:
    """SQLite's write-ahead log: what is committed and not in the database file yet."""
    return database.with_name(f"{database.name}-wal")


def index_of(database: Path) -> Path:
    """SQLite's index of that log, in memory shared by all who have the database open."""
    return database.with_name(f"{database.name}-shm")


def size_of(file: Path) -> int:
    """In bytes; 0 where there is no such file."""
    return file.stat().st_size if file.exists() else 0


class DataDir:
    """Holds `path` (0700) for this process until `close`; the lock goes with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            os.chmod(path, 0o700)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as failure:
            raise ConfigError(f"cannot use the data directory {path}: {failure.strerror}") from failure
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as failure:
            os.close(self._lock)
            raise ConfigError(f"the data directory {path} is in use by another server") from failure
        os.register_at_fork(after_in_child=self.close)  # or what a graph forked would hold it after our death
        self._marker = os.pread(self._lock, MARKER_BYTES, 0).decode(errors="replace").split()

    @property
    def database(self) -> Path:
        """The database file, created private before SQLite would create it readable."""
        file = self._file
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        return file

    @property
    def _file(self) -> Path:
        return self.path / "graphwire.db"

    @property
    def new(self) -> bool:
        """Whether nothing is there to lose: no server has kept anything here, or it was removed."""
        if size_of(log_of(self._file)) or size_of(self._file):
            return False
        return not self._marker or not self._file.exists()

    @property
    def closed_in_order(self) -> bool:
        """Whether the database is what the last server left, and it left in order."""
        return self._marker == self._closed() and not size_of(log_of(self._file))

    @property
    def same_boot(self) -> bool:
        """Whether the machine has been up ever since the last server opened the database: no power cut."""
        return self._marker == _opened() != ["open"]

    def mark_new(self) -> None:
        """Nothing is there to lose."""
        self._mark([])

    def mark_open(self) -> None:
        """From now on something is there to lose."""
        self._mark(_opened())

    def mark_closed(self) -> None:
        """The database has been closed. What is still in its log was not brought home: not in order."""
        if not size_of(log_of(self._file)):
            self._mark(self._closed())

    def set_aside(self) -> str:
        """Rename the database with its log, so that it can still be opened; returns its new name."""
        at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        kept = self._file.with_name(f"{self._file.name}.corrupt-{at}")
        for find in (log_of, index_of, lambda file: file):
            if find(self._file).exists():
                find(self._file).rename(find(kept))
        self.mark_new()
        return str(kept)

    def close(self) -> None:
        """Let go of the directory; twice is once."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _closed(self) -> list[str]:
        if not self._file.exists():
            return []
        found = self._file.stat()
        return ["closed", str(found.st_size), str(found.st_mtime_ns)]

    def _mark(self, words: list[str]) -> None:
        """A marker that cannot be written stays the old one, which makes the next start check."""
        line = " ".join(words).ljust(MARKER_BYTES - 1) + "\n"
        try:
            os.pwrite(self._lock, line.encode(), 0)
        except OSError:
            return
        self._marker = words


def _opened() -> list[str]:
    try:
        return ["open", BOOT_ID.read_text().strip()]
    except OSError:  # not Linux: every start may be one after a power cut
        return ["open"]
