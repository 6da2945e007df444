"""The directory of the embedded engine: private, and one server's alone."""

import fcntl
import os
from pathlib import Path

from ..errors import ConfigError


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

    @property
    def database(self) -> Path:
        """The database file, created private before SQLite would create it readable."""
        file = self.path / "graphwire.db"
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        return file

    def close(self) -> None:
        os.close(self._lock)
