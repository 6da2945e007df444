"""Whether the database is whole: asked after a stop that was not in order, before anything writes to it."""

import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from ..errors import ConfigError, DatabaseDamaged
from .data_dir import DataDir, index_of, size_of

_log = structlog.get_logger(__name__)

PROBLEMS_MAX = 3  # of what is wrong, the first few say enough
READ_BYTES = 16 * 1024 * 1024
INDEX_VERSION = 3007000
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def inspect(directory: DataDir, *, allow_reset: bool) -> None:
    """Look the database over unless the last server closed it in order; a new one is not looked at.

    Raises DatabaseDamaged. With `allow_reset` a damaged file is kept aside instead, and the next one begins
    empty. Never is one overwritten or deleted (reliability D13).
    """
    if directory.new:
        directory.mark_new()
        return
    if directory.closed_in_order:
        return
    file, began = directory.database, time.monotonic()
    _log.info("the last stop was not in order: checking the database", file=str(file), bytes=size_of(file))
    try:
        problem = damage(file, index_counts=directory.same_boot)
    except (OSError, sqlite3.Error) as failure:
        raise ConfigError(f"cannot open the database {file}: {failure}") from failure
    if problem is None:
        _log.info("the database is whole", seconds=round(time.monotonic() - began, 1))
    elif allow_reset:
        kept = directory.set_aside()
        _log.error("the database was damaged: it is kept aside, an empty one begins", kept=kept, why=problem)
    else:
        raise DatabaseDamaged(
            f"the database {file} is damaged ({problem}). Nothing was changed. Restore a backup in its place,"
            " or start with --allow-reset, which keeps the damaged file aside and begins an empty one"
        )


def damage(database: Path, *, index_counts: bool = True) -> str | None:
    """What is wrong with a database that nobody has open, in a few words; None when it is whole.

    Changes neither file nor log, and takes as long as reading them. `index_counts`: the index of the log is
    what the last process left, not what a power cut did. Raises sqlite3.Error when it cannot tell: no
    space, no permission.
    """
    if not size_of(database):
        return "the file is empty"
    expected = _LogIndex.of(database) if index_counts else None
    _read_through(database)
    with _reading_only(database) as connection:
        try:
            found = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({PROBLEMS_MAX})")]
        except sqlite3.DatabaseError as failure:
            if failure.sqlite_errorcode & 0xFF not in _DAMAGE:
                raise
            return str(failure)
        if found != ["ok"]:
            return "; ".join(" ".join(line.split()) for line in found)
        return expected.missing_in(_LogIndex.of(database)) if expected else None


def _read_through(database: Path) -> None:
    """Once from beginning to end: the check jumps about, which on a cold disk takes ten times longer."""
    buffer = bytearray(READ_BYTES)
    with database.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


@contextmanager
def _reading_only(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that leaves file and log as they are, also when it is the last one to be closed."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


@dataclass(frozen=True, slots=True)
class _LogIndex:
    """What the index says of the write-ahead log (https://www.sqlite.org/walformat.html, 2.1).

    Whoever opens a database takes its log up to the first frame that is not as it should be and drops the
    rest without a word. The index that a killed process left tells how far the log went.
    """

    frames: int  # committed ones
    copied: int  # of them, those that are in the database file too

    @classmethod
    def of(cls, database: Path) -> "_LogIndex | None":
        """None when there is none that could be believed: its head stands there twice, to see torn writes."""
        try:
            data = index_of(database).read_bytes()
        except OSError:
            return None
        if len(data) < 136 or data[:48] != data[48:96] or struct.unpack_from("=I", data)[0] != INDEX_VERSION:
            return None
        return cls(*struct.unpack_from("=I", data, 16), *struct.unpack_from("=I", data, 96))

    def missing_in(self, present: "_LogIndex | None") -> str | None:
        found = present.frames if present else 0
        if max(found, self.copied) >= self.frames:
            return None
        return f"of the {self.frames} frames of its write-ahead log only {found} can be read"
