"""The data directory is private and has one holder at a time."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.errors import ConfigError
from server.storage.data_dir import DataDir
from server.storage.database import SqliteDatabase

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "data"


@pytest.fixture
def held(folder: Path) -> Iterator[DataDir]:
    directory = DataDir(folder)
    yield directory
    directory.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_the_directory_is_made_for_its_owner_alone(held: DataDir, folder: Path) -> None:
    assert mode(folder) == 0o700


def test_a_directory_that_was_open_to_all_is_closed_to_others(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o777)
    DataDir(folder).close()
    assert mode(folder) == 0o700


def test_every_file_in_it_is_its_owners_alone(held: DataDir, folder: Path) -> None:
    database = SqliteDatabase(held.database)
    database.write_now(lambda tx: tx.exec_driver_sql("CREATE TABLE t (a)").rowcount)
    names = {path.name: mode(path) for path in folder.iterdir()}
    database.close()
    assert {"lock", "graphwire.db", "graphwire.db-wal"} <= names.keys()
    assert set(names.values()) == {0o600}


def test_a_second_holder_is_refused(held: DataDir, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"{folder} is in use by another server"):
        DataDir(folder)


def test_a_refused_holder_does_not_disturb_the_first(held: DataDir, folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError):
            DataDir(folder)


def test_who_closes_makes_room_for_the_next(folder: Path) -> None:
    DataDir(folder).close()
    DataDir(folder).close()


def test_a_process_that_is_killed_leaves_no_lock(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from server.storage.data_dir import DataDir\n"
        "held = DataDir(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, folder], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError):
            DataDir(folder)
        process.kill()
        process.wait()
    DataDir(folder).close()


def test_a_place_that_is_no_directory_is_a_clear_mistake(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=f"cannot use the data directory {file}"):
        DataDir(file)


def test_a_database_that_is_there_is_not_emptied(held: DataDir) -> None:
    held.database.write_bytes(b"kept")
    assert held.database.read_bytes() == b"kept"


def test_a_process_that_a_graph_forked_does_not_hold_the_directory_when_the_server_is_dead(
    folder: Path,
) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from server.storage.data_dir import DataDir\n"
        "held = DataDir(Path(sys.argv[1]))\n"
        "if os.fork() == 0: print(os.getpid(), flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, folder], cwd=REPOSITORY, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        try:
            DataDir(folder).close()
        finally:
            os.kill(child, signal.SIGKILL)


def leave(folder: Path, *, in_order: bool) -> None:
    """What a server does to a directory."""
    directory = DataDir(folder)
    database = SqliteDatabase(directory.database)
    database.write_now(lambda tx: tx.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (a)").rowcount)
    directory.mark_open()
    database.close()
    if in_order:
        directory.mark_closed()
    directory.close()


def test_an_empty_directory_is_new_and_one_that_was_used_is_not(folder: Path) -> None:
    assert DataDir(folder / "empty").new
    leave(folder, in_order=True)
    assert not DataDir(folder).new


def test_the_next_holder_knows_whether_the_last_one_closed_in_order(folder: Path) -> None:
    for in_order in (True, False, True):
        leave(folder, in_order=in_order)
        directory = DataDir(folder)
        assert directory.closed_in_order is in_order
        directory.close()


@pytest.mark.parametrize("change", [lambda file: os.truncate(file, 100), lambda file: os.utime(file)])
def test_a_file_that_was_touched_since_was_not_left_like_that(
    folder: Path, change: Callable[[Path], None]
) -> None:
    leave(folder, in_order=True)
    change(folder / "graphwire.db")
    assert not DataDir(folder).closed_in_order


def test_a_log_that_was_left_behind_is_not_in_order(folder: Path) -> None:
    leave(folder, in_order=True)
    (folder / "graphwire.db-wal").write_bytes(b"x")
    assert not DataDir(folder).closed_in_order


def test_a_marker_that_cannot_be_written_stops_nobody(folder: Path, held: DataDir) -> None:
    os.close(held._lock)
    held._lock = os.open(folder / "lock", os.O_RDONLY)
    held.mark_open()
    assert held.new
