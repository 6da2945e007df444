"""What was answered is on the disk; a run that succeeded has its state there too."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fix_gate import Gate
from fix_server import Server, run_of, start, stop

CLIENTS = 8
GRAPHS = {
    "echo": ({"x": 1}, 2),
    "func": ("topic", 0),
    "send": ({"items": ["a", "b"]}, 3),
}  # input, number of the last step
NOTED = """
CREATE TABLE noted (run_id TEXT, step INT);
CREATE TRIGGER note AFTER UPDATE OF status ON runs WHEN NEW.status = 'success' BEGIN
    INSERT INTO noted SELECT NEW.run_id, max(json_extract(CAST(metadata AS TEXT), '$.step'))
    FROM checkpoints WHERE thread_id = NEW.thread_id AND checkpoint_ns = '';
END
"""
REFUSED = """
CREATE TRIGGER refuse_checkpoint BEFORE INSERT ON checkpoints
WHEN json_extract(CAST(NEW.metadata AS TEXT), '$.step') >= 2 BEGIN SELECT RAISE(ABORT, 'not this one'); END;
CREATE TRIGGER refuse_interrupt BEFORE INSERT ON writes
WHEN NEW.channel = '__interrupt__' BEGIN SELECT RAISE(ABORT, 'not this one'); END
"""


@pytest.fixture(scope="module")
def start_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    started: list[Server] = []

    def start_with(script: str) -> Server:
        """A server whose database does something more when it is written to."""
        started.append(start(tmp_path_factory.mktemp("server")))
        with closing(sqlite3.connect(started[-1].data_dir / "graphwire.db")) as connection:
            connection.executescript(script)
        return started[-1]

    yield start_with
    for server in started:
        stop(server)


@pytest.fixture(scope="module")
def noting(start_at: Callable[[str], Server]) -> Server:
    """Notes which checkpoint is there in the very transaction in which a run becomes a success."""
    return start_at(NOTED)


@pytest.fixture(scope="module")
def refusing(start_at: Callable[[str], Server]) -> Server:
    """Takes neither a thread's third checkpoint nor an interrupt."""
    return start_at(REFUSED)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_run_becomes_a_success_only_with_its_last_checkpoint(
    noting: Server, graph: str, durability: str
) -> None:
    graph_input, steps = GRAPHS[graph]
    response = noting.stream(graph, graph_input, durability=durability)
    response.rest()
    thread_path, run_id = run_of(response).split("/runs/")
    with closing(sqlite3.connect(noting.data_dir / "graphwire.db")) as connection:
        noted = connection.execute("SELECT step FROM noted WHERE run_id = ?", (run_id,)).fetchone()
    assert noted == (steps,)
    assert noting.get(f"{thread_path}/state")["metadata"]["step"] == steps


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("graph", ["echo", "intr"])
def test_a_run_whose_last_checkpoint_or_interrupt_was_not_stored_is_no_success(
    refusing: Server, graph: str, durability: str
) -> None:
    thread_id = refusing.new_thread()
    response = refusing.stream(graph, {"x": 1}, thread_id, durability=durability)
    events = response.rest()
    assert events[-1].event == "error"
    assert refusing.get(run_of(response))["status"] == "error"
    assert refusing.get(f"/threads/{thread_id}")["status"] == "error"


def test_hundreds_of_answers_outlive_a_kill_right_after_the_last_one(tmp_path: Path, gate: Gate) -> None:
    server = start(tmp_path)
    try:
        with ThreadPoolExecutor(CLIENTS) as clients:
            acknowledged = list(clients.map(lambda number: write(server, gate, number), range(320)))
        server.process.kill()
        server.process.wait()
        server = start(tmp_path)
        for path, expected in acknowledged:
            found = server.get(path)
            assert {key: found[key] for key in expected} == expected
    finally:
        stop(server)


def write(server: Server, gate: Gate, number: int) -> tuple[str, dict[str, Any]]:
    """One write that was answered: where it can be read, and what must be read there."""
    if number % 4 == 0:
        metadata = {"number": number}
        return f"/threads/{server.post('/threads', {'metadata': metadata})['thread_id']}", {
            "metadata": metadata
        }
    thread_id = server.new_thread()
    runs = f"/threads/{thread_id}/runs"
    if number % 4 == 1:
        run = server.post(runs, {"assistant_id": "echo", "input": {"x": number}, "metadata": {"n": number}})
        return f"{runs}/{run['run_id']}", {"run_id": run["run_id"]}
    if number % 4 == 2:
        answer = server.wait("echo", {"x": number}, thread=thread_id)
        return f"/threads/{thread_id}/state", {"values": answer, "next": []}
    run = server.post(runs, {"assistant_id": "gate", "input": gate.input()})
    assert server.request("POST", f"{runs}/{run['run_id']}/cancel?wait=1").status in (200, 202, 204)
    return f"{runs}/{run['run_id']}", {"status": "interrupted"}
