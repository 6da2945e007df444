"""What a worker, which serves nothing else, shows of itself on its own port."""

from collections.abc import Callable, Iterator

import pytest
from fix_cluster import Cluster, Worker
from fix_gate import Gate
from fix_scrape import comes_to_show, scrape
from fix_server import Server, eventually


@pytest.fixture(scope="module")
def cluster(start_cluster: Callable[..., Cluster]) -> Iterator[Cluster]:
    """One process that takes requests, and one that executes."""
    made = start_cluster(workers=1)
    assert eventually(lambda: answers(made.workers[0]))
    return made


def answers(worker: Worker) -> bool:
    try:
        return worker.probes.request("GET", "/ok").status == 200
    except OSError:
        return False


def test_a_run_is_counted_where_it_is_executed_and_its_request_where_it_came_in(
    cluster: Cluster, gate: Gate
) -> None:
    door, worker = cluster.servers[0], cluster.workers[0].probes
    given = gate.input()
    response = door.stream("gate", given, stream_mode="messages-tuple")
    node = gate.node(given)
    node.say("hello")
    response.next("messages")
    assert running(worker) == 1
    assert running(door) == 0
    assert scrape(door).value("graphwire_slots") == 0
    assert scrape(door).value("graphwire_readers", kind="events") == 1
    node.finish()
    response.rest()
    ended = {"graph": "gate", "status": "success"}
    name = "graphwire_run_duration_seconds_count"
    assert comes_to_show(worker, lambda found: found.value(name, **ended) == 1)
    assert scrape(worker).value("graphwire_run_queue_wait_seconds_count", graph="gate") == 1
    assert scrape(worker).value("graphwire_tokens_total", graph="gate") >= 1
    assert scrape(door).value("graphwire_tokens_total") == 0
    asked = {"route": "/threads/{thread_id}/runs/stream", "status": "200"}
    assert scrape(door).value("graphwire_http_requests_total", **asked) == 1


def test_who_does_not_reach_the_database_is_alive_but_not_ready(cluster: Cluster) -> None:
    members = cluster.servers[0], cluster.workers[0].probes
    for member in members:
        assert member.request("GET", "/ok?check_db=1").status == 200
    with cluster.to_postgres.cut():
        for member in members:
            assert comes_to_answer(member, "/ok?check_db=1", 503)
            assert member.request("GET", "/ok?live=1").status == 200
            assert member.request("GET", "/ok").status == 200
            assert "graphwire_runs_waiting" not in scrape(member).names()  # nobody knows
    for member in members:
        assert comes_to_answer(member, "/ok?check_db=1", 200)
        assert comes_to_show(member, lambda found: "graphwire_runs_waiting" in found.names())


def comes_to_answer(server: Server, path: str, status: int) -> bool:
    return eventually(lambda: server.request("GET", path).status == status)


def test_a_worker_that_drains_is_not_ready_and_not_dead(cluster: Cluster, gate: Gate) -> None:
    worker = cluster.add_worker()
    assert eventually(lambda: answers(worker))
    given = [gate.input() for _ in range(4)]
    for graph_input in given:
        body = {"assistant_id": "gate", "input": graph_input}
        cluster.servers[0].post(f"/threads/{cluster.servers[0].new_thread()}/runs", body)
    nodes = [gate.node(graph_input) for graph_input in given]
    assert running(worker.probes) >= 1
    worker.process.terminate()
    assert comes_to_answer(worker.probes, "/ok", 503)
    assert worker.probes.request("GET", "/ok?live=1").status == 200
    for node in nodes:
        node.finish()
    assert worker.process.wait(30) == 0


def running(server: Server) -> float:
    return scrape(server).value("graphwire_runs_running", graph="gate")
