"""kill -9: what was acknowledged is there, what was running goes on, what kills again is given up."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fix_gate import Gate
from fix_server import CONFIG, REPO, Server, start, stop

Restart = Callable[[Server], Server]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = start(tmp_path)
    yield server
    stop(server)


@pytest.fixture
def restart(tmp_path: Path) -> Iterator[Restart]:
    started: list[Server] = []

    def kill_and_start(server: Server) -> Server:
        server.process.kill()
        server.process.wait()
        started.append(start(tmp_path))
        return started[-1]

    yield kill_and_start
    for server in started:
        stop(server)


def test_a_thread_that_was_acknowledged_survives(server: Server, restart: Restart) -> None:
    thread_id = server.new_thread()
    assert restart(server).get(f"/threads/{thread_id}")["thread_id"] == thread_id


def test_a_finished_answer_survives(server: Server, restart: Restart) -> None:
    thread_id = server.new_thread()
    answer = server.wait("echo", {"x": 1}, thread=thread_id)
    again = restart(server)
    assert again.get(f"/threads/{thread_id}")["values"] == answer
    assert again.get(f"/threads/{thread_id}/state")["values"] == answer


def test_a_running_run_is_finished_by_a_second_attempt_that_says_so(
    server: Server, restart: Restart, gate: Gate
) -> None:
    thread_id, graph_input = server.new_thread(), gate.input()
    stream = server.stream("gate", graph_input, thread=thread_id, stream_mode="messages-tuple")
    gate.node(graph_input).say("lost")
    seen = stream.next("messages")
    again = restart(server)
    resumed = again.join(stream.header("location") or "", seen.id)
    node = gate.node(graph_input)
    node.say("whole")
    node.finish()
    events = resumed.rest()
    assert events[0].event == "metadata"
    assert events[0].data["attempt"] == 2
    assert [frame.data[0]["content"] for frame in events if frame.event == "messages"][:1] == ["whole"]
    assert again.get(stream.header("content-location"))["status"] == "success"
    assert again.get(f"/threads/{thread_id}")["status"] == "idle"


def test_a_queued_run_survives(server: Server, restart: Restart, gate: Gate) -> None:
    thread_id, graph_input = server.new_thread(), gate.input()
    server.post(f"/threads/{thread_id}/runs", {"assistant_id": "gate", "input": graph_input})
    gate.node(graph_input)
    queued = server.post(f"/threads/{thread_id}/runs", {"assistant_id": "echo", "input": {"x": 1}})
    again = restart(server)
    gate.node(graph_input).finish()
    again.get(f"/threads/{thread_id}/runs/{queued['run_id']}/join")
    assert again.get(f"/threads/{thread_id}/runs/{queued['run_id']}")["status"] == "success"


def test_a_run_that_three_servers_died_of_is_given_up(server: Server, restart: Restart, gate: Gate) -> None:
    thread_id, graph_input = server.new_thread(), gate.input()
    run = server.post(f"/threads/{thread_id}/runs", {"assistant_id": "gate", "input": graph_input})
    for _ in range(3):
        gate.node(graph_input)
        server = restart(server)
    ended = server.get(f"/threads/{thread_id}/runs/{run['run_id']}")
    assert ended["status"] == "error"
    assert ended["error"]["error"] == "RunAbandoned"
    assert server.get(f"/threads/{thread_id}")["status"] == "error"


def test_a_second_server_on_the_same_data_is_refused(server: Server) -> None:
    command = [sys.executable, "-m", "server", "serve", "--config", str(CONFIG), "--port", "0"]
    env = {**os.environ, "GRAPHWIRE_DATA_DIR": str(server.data_dir)}
    second = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, timeout=30)
    assert second.returncode == 2
    assert "in use by another server" in second.stderr
    assert "Traceback" not in second.stderr
