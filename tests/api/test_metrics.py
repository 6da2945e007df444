"""`GET /metrics`: what was counted is what happened, also while it happens."""

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest
from fix_gate import Gate
from fix_scrape import Scrape, comes_to_show, scrape
from fix_server import RunningServer, Server, eventually

REPOSITORY = Path(__file__).parents[2]
SLOTS = 2
RUNS = {"method": "POST", "route": "/threads/{thread_id}/runs/stream"}


@pytest.fixture(scope="module")
def counting(start_server: RunningServer) -> Server:
    """A server with two slots that nobody else asks for anything."""
    return start_server(N_JOBS_PER_WORKER=str(SLOTS))


def when_it_shows(server: Server, before: Scrape, graph: str, status: str) -> Scrape:
    """The first look that knows of one more attempt that ended so: clients hear of it a moment earlier."""
    name, labels = "graphwire_run_duration_seconds_count", {"graph": graph, "status": status}
    assert comes_to_show(
        server, lambda found: found.value(name, **labels) == before.value(name, **labels) + 1
    )
    return scrape(server)


def test_a_run_is_counted_with_its_wait_its_tokens_and_its_end(counting: Server) -> None:
    before = scrape(counting)
    frames = counting.stream("chat", {"messages": []}, stream_mode="messages-tuple").rest()
    tokens = [frame for frame in frames if frame.event == "messages"]
    after = when_it_shows(counting, before, "chat", "success")

    def grown(name: str, **labels: str) -> float:
        return after.value(f"graphwire_{name}", graph="chat", **labels) - before.value(
            f"graphwire_{name}", graph="chat", **labels
        )

    assert grown("run_queue_wait_seconds_count") == 1
    assert grown("run_time_to_first_token_seconds_count") == 1
    assert 0 < grown("run_time_to_first_token_seconds_sum") < 30
    assert grown("run_duration_seconds_count", status="success") == 1
    assert grown("run_duration_seconds_count") == 1
    assert grown("tokens_total") == len(tokens) > 2
    # The last two messages are another node's: between two steps there is no gap.
    assert grown("token_gap_seconds_count") == len(tokens) - 2


def test_every_way_to_end_is_told_apart(counting: Server, gate: Gate) -> None:
    before = scrape(counting)
    counting.stream("boom", {"how": "first"}).rest()
    stopped = gate.input()
    response = counting.stream("gate", stopped)
    gate.node(stopped)
    counting.request("POST", f"{response.header('content-location')}/cancel?wait=true", {}).body()
    response.rest()
    for graph, status in (("boom", "error"), ("gate", "interrupted")):
        when_it_shows(counting, before, graph, status)


def test_a_run_under_way_is_seen_with_the_tokens_that_it_has_said(counting: Server, gate: Gate) -> None:
    before = scrape(counting)
    given = gate.input()
    response = counting.stream("gate", given, stream_mode="messages-tuple")
    node = gate.node(given)
    node.say("a")
    node.say("b")
    for _ in range(2):
        response.next("messages")
    seen = scrape(counting)
    assert seen.value("graphwire_runs_running", graph="gate") == 1
    assert seen.value("graphwire_slots_used") == 1
    assert seen.value("graphwire_slots") == SLOTS
    assert seen.value("graphwire_readers", kind="events") == 1
    said = [found.value("graphwire_tokens_total", graph="gate") for found in (before, seen)]
    assert said[1] - said[0] == 2
    assert seen.value("graphwire_log_bytes") > 0
    node.finish()
    response.rest()
    assert comes_to_show(counting, lambda found: found.value("graphwire_runs_running") == 0)
    assert comes_to_show(counting, lambda found: found.value("graphwire_readers") == 0)
    after = scrape(counting)  # what was counted of the run under way stays, once
    assert after.value("graphwire_tokens_total", graph="gate") - said[0] >= 2


def test_runs_that_wait_are_counted_by_graph_and_whether_a_slot_would_help(
    counting: Server, gate: Gate
) -> None:
    held = [gate.input() for _ in range(SLOTS)]
    threads = [counting.new_thread() for _ in held]
    for thread, given in zip(threads, held, strict=True):
        counting.post(f"/threads/{thread}/runs", {"assistant_id": "gate", "input": given})
    nodes = [gate.node(given) for given in held]
    counting.post(f"/threads/{threads[0]}/runs", {"assistant_id": "echo", "input": {}})
    seen = []

    def shows() -> bool:
        seen[:] = [scrape(counting)]
        longest = seen[0].value("graphwire_runs_waiting_longest_seconds", blocked="yes")
        return seen[0].value("graphwire_runs_waiting", graph="echo") == 1 and longest > 0

    assert eventually(shows)
    assert seen[0].value("graphwire_runs_waiting_longest_seconds", blocked="no") == 0
    short = counting.get("/metrics?format=json")
    assert short["workers"] == {"max": SLOTS, "active": SLOTS, "available": 0}
    assert (short["queue"]["n_pending"], short["queue"]["n_running"]) == (1, SLOTS)
    assert short["queue"]["pending_runs_wait_time_max_secs"] > 0
    assert short["queue"]["pending_runs_wait_time_med_secs"] > 0
    assert short["queue"]["pending_unblocked_runs_wait_time_max_secs"] is None
    for node in nodes:
        node.finish()
    assert comes_to_show(counting, lambda found: found.value("graphwire_runs_waiting") == 0)


def test_requests_are_counted_by_route_and_status_and_never_by_what_callers_chose(counting: Server) -> None:
    before = scrape(counting)
    for _ in range(20):
        assert counting.request("GET", f"/threads/{uuid4()}").status == 404
        counting.request("GET", f"/nothing/{uuid4()}").body()
        counting.request("POST", f"/ok?{uuid4()}").body()
    after = scrape(counting)

    def grown(route: str, status: str) -> float:
        labels = {"route": route, "status": status}
        name = "graphwire_http_requests_total"
        return after.value(name, **labels) - before.value(name, **labels)

    assert grown("/threads/{thread_id}", "404") == 20
    assert grown("none", "404") == 20
    assert grown("/ok", "405") == 20
    assert after.series() - before.series() < 100
    answered = "graphwire_http_response_start_seconds_count"
    assert after.value(answered, route="/threads/{thread_id}", method="GET") >= 20


def test_a_method_that_does_not_exist_is_counted_as_other(counting: Server) -> None:
    rare = ("PROPFIND", "LOCK", "MKCOL")  # what the parser lets through
    for method in rare:
        assert counting.request(method, "/ok").status == 405
    assert "other" in scrape(counting).labels("graphwire_http_requests_total", "method")
    assert not {*rare} & scrape(counting).labels("graphwire_http_requests_total", "method")


def test_a_reader_that_does_not_read_is_stalled(counting: Server) -> None:
    given = {"texts": [json.dumps("x")] * 48, "times": 131_072}
    body = {"assistant_id": "texts", "input": given, "stream_mode": "messages-tuple"}
    path = f"/threads/{counting.new_thread()}/runs/stream"
    stalled = counting.request("POST", path, body, receive_bytes=4096)
    assert comes_to_show(counting, lambda found: found.value("graphwire_readers_stalled", kind="events") == 1)
    stalled.reset()
    assert comes_to_show(counting, lambda found: found.value("graphwire_readers_stalled") == 0)


def test_a_graph_that_blocks_its_loop_is_named(counting: Server, gate: Gate) -> None:
    given = gate.input()
    response = counting.stream("blocking", given)
    node = gate.node(given)
    assert comes_to_show(
        counting, lambda found: found.value("graphwire_graph_blocked_seconds", graph="blocking") > 0.2
    )
    assert scrape(counting).value("graphwire_loop_lag_seconds_count") > 0  # and the server's own turns
    node.finish()
    response.rest()


def test_without_metrics_there_is_no_page_and_everything_else_works(start_server: RunningServer) -> None:
    plain = start_server(GRAPHWIRE_METRICS="false")
    assert plain.wait("echo", {"x": 1}) is not None
    answer = plain.request("GET", "/metrics")
    assert (answer.status, answer.json()) == (404, {"detail": "Metrics are switched off (GRAPHWIRE_METRICS)"})


def test_the_page_is_what_prometheus_reads(counting: Server) -> None:
    answer = counting.request("GET", "/metrics?format=anything")
    assert answer.header("content-type") == "text/plain; version=1.0.0; charset=utf-8"
    assert b"# TYPE process_resident_memory_bytes gauge" in answer.body()


def queries(board: object) -> set[str]:
    """Every expression of a board, however deep."""
    if isinstance(board, dict):
        own = {board["expr"]} if isinstance(board.get("expr"), str) else set()
        return own.union(*map(queries, board.values()))
    return set().union(*map(queries, board)) if isinstance(board, list) else set()


def test_the_board_asks_for_nothing_that_a_server_does_not_tell(counting: Server) -> None:
    counting.stream("chat", {"messages": []}, stream_mode="messages-tuple").rest()
    board = json.loads((REPOSITORY / "docs" / "grafana.json").read_text())
    asked = {name for query in queries(board) for name in re.findall(r"\b(?:graphwire|process)_\w+", query)}
    assert len(asked) > 15
    assert asked <= scrape(counting).names()


def test_every_metric_is_written_down_and_nothing_else(counting: Server) -> None:
    counting.stream("chat", {"messages": []}, stream_mode="messages-tuple").rest()
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    told = set(re.findall(r"^\| `(graphwire_\w+)`", text, re.MULTILINE))
    found = {
        f"{name}_total" if family.type == "counter" else name
        for name, family in scrape(counting).families.items()
        if name.startswith("graphwire_")
    }
    assert told == found
