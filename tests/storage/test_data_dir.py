"""The data directory is private and has one holder at a time."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
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
