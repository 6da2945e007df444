"""A damaged database is recognised whatever happened to it, and nothing is lost on the way."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from server.errors import DatabaseDamaged
from server.storage.data_dir import DataDir, index_of, log_of
from server.storage.database import SqliteDatabase
from server.storage.inspection import damage, inspect

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = 300  # some of them in the database file, some in its log
WRITE = f"""
import os, sys
from pathlib import Path
from server.storage.data_dir import DataDir
from server.storage.database import SqliteDatabase
directory = DataDir(Path(sys.argv[1]))
database = SqliteDatabase(directory.database)
database.write_now(lambda tx: tx.exec_driver_sql("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)").rowcount)
directory.mark_open()
for number in range({ROWS}):
    insert = "INSERT INTO t (b) VALUES ('" + "x" * 3000 + "')"
    database.write_now(lambda tx: tx.exec_driver_sql(insert).rowcount)
if sys.argv[2] == "kill":
    os.kill(os.getpid(), 9)
database.close()
directory.mark_closed()
"""


def made(folder: Path, how: str) -> Path:
    subprocess.run([sys.executable, "-c", WRITE, folder, how], cwd=REPOSITORY, check=False)
    return folder


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("killed"), "kill")


@pytest.fixture(scope="module")
def closed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("closed"), "close")


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    """What a killed server left; a copy."""
    return Path(shutil.copytree(killed_once, tmp_path / "data"))


@pytest.fixture
def closed(closed_once: Path, tmp_path: Path) -> Path:
    """What a server left that stopped in order; a copy with the same times."""
    return Path(shutil.copytree(closed_once, tmp_path / "data"))


def rows(file: Path) -> int:
    """How many SQLite finds."""
    connection = sqlite3.connect(file)
    try:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])
    except sqlite3.OperationalError:  # not even the table
        return 0
    finally:
        connection.close()


def contents(folder: Path) -> dict[str, bytes]:
    """What must not change: all but the index, which SQLite makes anew."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def scramble(file: Path) -> None:
    file.write_bytes(os.urandom(file.stat().st_size))


def spoil_the_header(file: Path) -> None:
    overwrite(file, 0, b"\x13" * 100)


def zero_some_pages(file: Path) -> None:
    overwrite(file, 4096, bytes(5 * 4096))


def flip_a_bit(file: Path) -> None:
    where = 32 + 24 + 100  # in the first page of the log
    overwrite(file, where, bytes([file.read_bytes()[where] ^ 1]))


def overwrite(file: Path, where: int, data: bytes) -> None:
    with file.open("r+b") as target:
        target.seek(where)
        target.write(data)


WAYS = [cut, empty, scramble, spoil_the_header, zero_some_pages]
WAYS_OF_THE_LOG = [cut, empty, scramble, spoil_the_header, flip_a_bit, Path.unlink]


def test_what_a_kill_leaves_is_whole(killed: Path) -> None:
    before = contents(killed)
    assert log_of(killed / "graphwire.db").stat().st_size > 0
    assert damage(killed / "graphwire.db") is None
    assert contents(killed) == before
    assert rows(killed / "graphwire.db") == ROWS


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_file_is_recognised_and_left_as_it_is(closed: Path, way: Callable[[Path], None]) -> None:
    way(closed / "graphwire.db")
    before = contents(closed)
    with pytest.raises(DatabaseDamaged, match="--allow-reset"):
        inspect(DataDir(closed), allow_reset=False)
    assert contents(closed).items() >= before.items()


@pytest.mark.parametrize("way", WAYS_OF_THE_LOG)
def test_a_damaged_log_is_recognised_although_sqlite_would_drop_its_end_without_a_word(
    killed: Path, way: Callable[[Path], None]
) -> None:
    way(log_of(killed / "graphwire.db"))
    before = contents(killed)
    with pytest.raises(DatabaseDamaged, match="write-ahead log"):
        inspect(DataDir(killed), allow_reset=False)
    assert contents(killed).items() >= before.items()
    assert rows(killed / "graphwire.db") < ROWS


def test_after_a_power_cut_the_index_of_the_log_tells_nothing(
    killed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    another = tmp_path / "boot_id"
    another.write_text("another\n")
    monkeypatch.setattr("server.storage.data_dir.BOOT_ID", another)
    cut(log_of(killed / "graphwire.db"))
    inspect(DataDir(killed), allow_reset=False)


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_file_is_kept_aside_when_that_is_allowed(closed: Path, way: Callable[[Path], None]) -> None:
    way(closed / "graphwire.db")
    damaged = (closed / "graphwire.db").read_bytes()
    directory = DataDir(closed)
    inspect(directory, allow_reset=True)
    (kept,) = closed.glob("graphwire.db.corrupt-*Z")
    assert kept.read_bytes() == damaged
    assert directory.new
    SqliteDatabase(directory.database).close()


def test_the_log_is_kept_aside_with_its_database_and_belongs_to_it(killed: Path) -> None:
    kept = Path(DataDir(killed).set_aside())
    assert log_of(kept).exists()
    assert not log_of(killed / "graphwire.db").exists()
    assert not index_of(killed / "graphwire.db").exists()
    assert rows(kept) == ROWS


def test_a_database_that_was_closed_in_order_is_not_read_through(closed: Path) -> None:
    """The check takes as long as reading the file: only who must wait for it does."""
    file = closed / "graphwire.db"
    times = file.stat()
    zero_some_pages(file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    inspect(DataDir(closed), allow_reset=False)


def test_a_restored_backup_is_checked_and_taken(closed: Path, killed_once: Path) -> None:
    shutil.copyfile(closed / "graphwire.db", closed / "backup")
    overwrite(closed / "graphwire.db", 0, b"x")
    os.replace(closed / "backup", closed / "graphwire.db")
    inspect(DataDir(closed), allow_reset=False)
    assert rows(closed / "graphwire.db") == ROWS


def test_a_new_directory_has_nothing_to_check(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    inspect(directory, allow_reset=False)
    assert directory.new


def test_who_removed_the_database_wants_to_begin_anew(closed: Path) -> None:
    (closed / "graphwire.db").unlink()
    directory = DataDir(closed)
    inspect(directory, allow_reset=False)
    # A start that fails after this leaves an empty file, and that is no damage either.
    SqliteDatabase(directory.database).close()
    directory.close()
    inspect(DataDir(closed), allow_reset=False)
