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


def running(server: Server) -> float:
    return scrape(server).value("graphwire_runs_running", graph="gate")
