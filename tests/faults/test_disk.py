"""A full disk: nothing is acknowledged that was not stored, and everything else goes on."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import wire
from fix_disk import WAIT_SECONDS, ended, file_size_limit, full_disk, until_logged
from fix_gate import Gate
from fix_server import Server, run_of, start, stop

from server.clock import new_id


def detail(response: wire.Response) -> str:
    return str(wire.json.loads(response.body())["detail"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start(tmp_path_factory.mktemp("server"))
    yield server
    stop(server)


def test_a_write_that_the_disk_does_not_take_is_told_and_changes_nothing(server: Server) -> None:
    wanted = new_id()
    with full_disk(server):
        refused = server.request("POST", "/threads", {"thread_id": wanted})
        assert refused.status == 507
        assert "disk is full" in detail(refused)
        assert server.request("GET", f"/threads/{wanted}").status == 404
    assert server.post("/threads", {"thread_id": wanted})["thread_id"] == wanted


@pytest.mark.parametrize("path", ["/runs", "/runs/stream", "/runs/wait"])
def test_a_run_that_cannot_be_stored_does_not_begin(server: Server, gate: Gate, path: str) -> None:
    graph_input = gate.input()
    with full_disk(server):
        refused = server.request("POST", path, {"assistant_id": "gate", "input": graph_input})
        assert refused.status == 507
        assert "disk is full" in detail(refused)
    assert server.wait("echo", {"x": 1}) == {"x": 1, "log": ["a", "b"]}
    assert not gate.started(graph_input)


def test_a_disk_without_room_even_for_the_log_stops_nobody(server: Server) -> None:
    thread_id = server.new_thread()
    with file_size_limit(server, 1):
        assert [server.request("POST", "/threads", {}).status for _ in range(5)] == [507] * 5
        assert server.get(f"/threads/{thread_id}")["thread_id"] == thread_id
    server.new_thread()


def test_reads_and_liveness_go_on(server: Server) -> None:
    thread_id = server.new_thread()
    server.wait("echo", {"x": 1}, thread=thread_id)
    with full_disk(server):
        assert server.get(f"/threads/{thread_id}/state")["values"]["x"] == 1
        assert server.get("/ok") == {"ok": True, "services": {}}
        assert server.get("/info")["version"]


def test_readiness_follows_the_disk(server: Server) -> None:
    with full_disk(server):
        until_status(server, 503)
    until_status(server, 200)


def until_status(server: Server, status: int) -> None:
    """A finding counts for a second."""
    until = time.monotonic() + WAIT_SECONDS
    while (answer := server.request("GET", "/ok?check_db=1")).status != status:
        assert time.monotonic() < until, detail(answer)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_run_whose_checkpoint_cannot_be_written_never_succeeds_and_ends_when_there_is_space(
    server: Server, gate: Gate, durability: str
) -> None:
    thread_id, graph_input = server.new_thread(), gate.input()
    stream = server.stream("gate", graph_input, thread_id, durability=durability, stream_mode="custom")
    node = gate.node(graph_input)
    with full_disk(server):
        node.write("still streaming")
        assert stream.next("custom").data == "still streaming"
        waiting = server.log.count("waits for the database")
        node.finish()
        until_logged(server, "waits for the database", waiting + 1)
        assert server.get(run_of(stream))["status"] in ("pending", "running")
    run = ended(server, run_of(stream))
    assert run["status"] == "error"
    assert run["error"]["error"] == "StorageFull"
    assert stream.rest()[-1].data["error"] == "StorageFull"
    assert server.get(f"/threads/{thread_id}")["status"] == "error"
    # The state is the last that was stored, and the thread can go on from it.
    server.wait("echo", {"x": 1}, thread=thread_id)
    assert server.get(f"/threads/{thread_id}/state")["values"]["x"] == 1


def test_what_waited_for_a_thread_runs_when_there_is_space_again(server: Server, gate: Gate) -> None:
    thread_id, graph_input = server.new_thread(), gate.input()
    server.post(f"/threads/{thread_id}/runs", {"assistant_id": "gate", "input": graph_input})
    node = gate.node(graph_input)
    queued = server.post(f"/threads/{thread_id}/runs", {"assistant_id": "echo", "input": {"x": 1}})
    with full_disk(server):
        waiting = server.log.count("waits for the database")
        node.finish()
        until_logged(server, "waits for the database", waiting + 1)
    assert ended(server, f"/threads/{thread_id}/runs/{queued['run_id']}")["status"] == "success"


def test_what_was_acknowledged_until_the_disk_was_full_outlives_a_kill(tmp_path: Path) -> None:
    server = start(tmp_path)
    try:
        with full_disk(server, room_bytes=200_000), ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda number: create(server, number), range(300)))
            server.process.kill()
            server.process.wait()
        stored = [thread for thread, status in answers if status == 200]
        assert {status for _, status in answers} == {200, 507}
        server = start(tmp_path)
        assert [server.request("GET", f"/threads/{thread}").status for thread in stored] == [200] * len(
            stored
        )
    finally:
        stop(server)


def create(server: Server, number: int) -> tuple[str, int]:
    """(id of a thread, how its creation was answered)."""
    wanted = new_id()
    body = {"thread_id": wanted, "metadata": {"number": number, "weight": "x" * 1000}}
    return wanted, server.request("POST", "/threads", body).status


def test_a_run_that_a_full_disk_kept_from_ending_ends_after_a_restart(tmp_path: Path, gate: Gate) -> None:
    server = start(tmp_path)
    try:
        thread_id, graph_input = server.new_thread(), gate.input()
        run = server.post(f"/threads/{thread_id}/runs", {"assistant_id": "gate", "input": graph_input})
        node = gate.node(graph_input)
        with full_disk(server):
            node.finish()
            until_logged(server, "waits for the database")
            server.process.kill()
            server.process.wait()
        server = start(tmp_path)
        gate.node(graph_input).finish()
        assert ended(server, f"/threads/{thread_id}/runs/{run['run_id']}")["status"] == "success"
        assert server.get(f"/threads/{thread_id}/state")["values"]["done"] is True
    finally:
        stop(server)


def test_a_server_on_a_full_disk_stops_in_order_when_it_is_told_to(tmp_path: Path, gate: Gate) -> None:
    server = start(tmp_path, BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="0.1")
    try:
        graph_input = gate.input()
        server.post("/runs", {"assistant_id": "gate", "input": graph_input})
        node = gate.node(graph_input)
        with full_disk(server):
            node.finish()
            until_logged(server, "waits for the database")
            server.process.terminate()
            assert server.process.wait(timeout=WAIT_SECONDS) == 0
    finally:
        stop(server)
