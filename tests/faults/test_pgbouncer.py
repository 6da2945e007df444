"""Behind PgBouncer in transaction mode: three sessions for all processes, each transaction in another."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fix_cluster import Worker
from fix_engine import Distributed, Engine
from fix_gate import Gate
from fix_pgbouncer import PgBouncer
from fix_redis import Redis
from fix_server import CONFIG, Server, eventually, run_of, start, stop


@pytest.fixture
def behind(pgbouncer: PgBouncer, redis: Redis) -> Engine:
    return Distributed(pgbouncer.uri, redis.uri)


@pytest.fixture
def api(behind: Engine, tmp_path: Path) -> Iterator[Server]:
    """A process that serves; a worker beside it executes."""
    server = start(tmp_path, CONFIG, "--role", "api", engine=behind)
    worker = Worker(tmp_path / "worker", CONFIG, behind.environment(tmp_path))
    yield server
    worker.kill()
    stop(server)


def words(frames: list[Any]) -> str:
    return "".join(frame.data[0]["content"] for frame in frames if frame.event == "messages")


def test_many_runs_and_streams_at_the_same_time_share_three_sessions(api: Server) -> None:
    def whole(number: int) -> tuple[str, Any]:
        stream = api.stream("joke", {"topic": f"number {number}"}, stream_mode="messages-tuple")
        said = words(stream.rest())
        return said, api.get(f"{run_of(stream).rpartition('/runs/')[0]}/state")["values"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(whole, range(24)))
    for number, (said, values) in enumerate(found):
        assert said == values["joke"] == f"Why number {number}? Ha!"


def test_crons_and_searches_work(api: Server) -> None:
    thread = api.new_thread()
    cron = api.post(
        f"/threads/{thread}/runs/crons",
        {"assistant_id": "joke", "schedule": "* * * * * *", "input": {"topic": "ice"}},
    )
    runs = f"/threads/{thread}/runs"
    assert eventually(lambda: sum(run["status"] == "success" for run in api.get(runs)) >= 2)
    assert api.request("DELETE", f"/runs/crons/{cron['cron_id']}").status in (200, 204)
    assert [found["thread_id"] for found in api.post("/threads/search", {"ids": [thread]})] == [thread]


def test_a_pooler_that_is_restarted_ends_no_run_and_no_stream(
    api: Server, pgbouncer: PgBouncer, gate: Gate
) -> None:
    graph_input = gate.input()
    stream = api.stream("gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    node.say("before ")
    assert stream.next("messages").data[0]["content"] == "before "
    pgbouncer.kill()
    node.say("meanwhile ")
    assert stream.next("messages").data[0]["content"] == "meanwhile "
    pgbouncer.start()
    node.say("after")
    node.finish()
    assert words(stream.rest()) == "after"
    run = api.get(run_of(stream))
    assert (run["status"], run["attempt"]) == ("success", 1)


def test_a_server_that_is_restarted_finds_everything(behind: Engine, tmp_path: Path) -> None:
    first = start(tmp_path, engine=behind)
    thread = first.new_thread()
    values = first.wait("joke", {"topic": "ice"}, thread)
    stop(first)
    second = start(tmp_path, engine=behind)
    try:
        assert second.get(f"/threads/{thread}/state")["values"] == values
        assert second.wait("joke", {"topic": "cream"}, thread)
    finally:
        stop(second)
