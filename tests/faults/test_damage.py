"""A damaged database or a second server: the start is refused in plain words, and nothing is overwritten."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fix_cli import REPO, SECONDS_MAX, Start, graphwire, project, start, until, url_of
from fix_server import start as start_server
from fix_server import stop as stop_server

__all__ = ["project", "start"]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data that a server left which was killed."""
    folder = tmp_path_factory.mktemp("left")
    server = start_server(folder)
    server.wait("echo", {"x": 1})
    server.process.kill()
    server.process.wait()
    return server.data_dir


@pytest.fixture
def data(project: Path, left: Path) -> Path:
    """A copy of it, as the data of a small project."""
    return Path(shutil.copytree(left, project.parent / ".graphwire"))


def damage(data: Path) -> dict[str, bytes]:
    """Spoil the file; what there is then, which must stay."""
    (data / "graphwire.db-wal").unlink()
    (data / "graphwire.db").write_bytes(os.urandom(100_000))
    return {file.name: file.read_bytes() for file in data.glob("graphwire.db")}


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_damaged_database_refuses_the_start_and_says_the_way_out(
    project: Path, data: Path, command: str
) -> None:
    before = damage(data)
    refused = graphwire(command, "--config", project, "--port", 0)
    assert refused.returncode == 2
    message = refused.stderr.splitlines()[-1]
    assert message.startswith(
        f"graphwire: the database {data / 'graphwire.db'} is damaged (file is not a data"
    )
    assert "Restore a backup" in message
    assert "--allow-reset" in message
    assert "Traceback" not in refused.stderr
    assert {name: (data / name).read_bytes() for name in before} == before


def test_with_allow_reset_the_damaged_database_is_kept_aside_and_an_empty_one_begins(
    start: Start, project: Path, data: Path
) -> None:
    before = damage(data)
    url_of(start("serve", "--config", project, "--port", 0, "--allow-reset"))
    (kept,) = data.glob("graphwire.db.corrupt-*Z")
    assert kept.read_bytes() == before["graphwire.db"]
    assert (data / "graphwire.db").read_bytes()[:15] == b"SQLite format 3"


def test_allow_reset_leaves_a_database_alone_that_is_whole(start: Start, project: Path, data: Path) -> None:
    process = start("serve", "--config", project, "--port", 0, "--allow-reset")
    assert "bytes=" in until(process, "stderr", "checking the database")
    until(process, "stderr", "the database is whole")
    url_of(process)
    assert not list(data.glob("*corrupt*"))


def test_a_stop_in_order_leaves_one_file_that_the_next_start_need_not_check(tmp_path: Path) -> None:
    server = start_server(tmp_path)
    thread_id = server.new_thread()
    server.wait("echo", {"x": 1}, thread=thread_id)
    stop_server(server)
    log = server.data_dir / "graphwire.db-wal"
    assert not log.exists() or log.stat().st_size == 0
    again = start_server(tmp_path)
    assert again.get(f"/threads/{thread_id}/state")["values"]["x"] == 1
    assert "checking the database" not in again.log
    stop_server(again)


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_second_server_is_refused_before_it_loads_anything(
    start: Start, project: Path, command: str
) -> None:
    url_of(start("serve", "--config", project, "--port", 0))
    (project.parent / "small.py").write_text("import no_such_package\n")
    second = graphwire(command, "--config", project, "--port", 0)
    assert second.returncode == 2
    assert second.stderr == (
        f"graphwire: the data directory {project.parent / '.graphwire'} is in use by another server\n"
    )


def test_a_server_that_was_killed_leaves_no_lock(start: Start, project: Path) -> None:
    first = start("serve", "--config", project, "--port", 0)
    url_of(first)
    first.kill()
    first.wait(SECONDS_MAX)
    url_of(start("serve", "--config", project, "--port", 0))


@pytest.mark.parametrize("used", [False, True])
def test_a_disk_without_space_refuses_the_start_in_plain_words_and_changes_nothing(
    project: Path, left: Path, used: bool
) -> None:
    data = project.parent / ".graphwire"
    if used:
        shutil.copytree(left, data)
    before = {file.name: file.read_bytes() for file in data.glob("graphwire.db")}
    serve = [sys.executable, "-m", "server", "serve", "--config", project, "--port", "0", "--allow-reset"]
    command = ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *map(str, serve)]  # no file may grow
    refused = subprocess.run(
        command, cwd=REPO, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("graphwire: cannot open the database")
    assert {name: (data / name).read_bytes() for name in before} == before
