"""Request, run, node, and the graph's own spans inside: one trace, across processes too."""

from collections.abc import Callable
from typing import Any

import pytest
from fix_cluster import Cluster
from fix_collector import Collector, Span
from fix_server import CONFIG, RunningServer, Server, eventually, run_of

TRACED = CONFIG.with_name("traced.json")
SERVER = 2  # SpanKind of the protocol
NODES = ("first", "left", "right", "inside", "within", "last", "again")
REQUEST = "POST /threads/{thread_id}/runs/stream"
NAMES = (REQUEST, "run traced", *(f"node {name}" for name in NODES))


@pytest.fixture(scope="module")
def traced(start_server: RunningServer, collector: Collector) -> Server:
    return start_server(TRACED, **collector.environment)


_count = iter(range(1, 1000))


def new_trace() -> tuple[str, str, str]:
    """(id of a trace, id of the client's span in it, the header that says so)"""
    number = next(_count)
    trace, span = f"{number:032x}", f"{number:016x}"
    return trace, span, f"00-{trace}-{span}-01"


def run(server: Server, header: str, assistant: str = "traced", **given: Any) -> str:
    """Run a graph to its end, as part of a client's trace; the path of the run."""
    body = {"assistant_id": assistant, "input": given or {"out": []}}
    path = f"/threads/{server.new_thread()}/runs/stream"
    response = server.request("POST", path, body, headers={"traceparent": header})
    response.rest()
    return run_of(response)


def parents(spans: dict[str, Span]) -> dict[str, str]:
    names = {span.id: span.name for span in spans.values()}
    return {span.name: names.get(span.parent, span.parent) for span in spans.values()}


def test_a_run_is_inside_its_request_and_the_nodes_are_inside_the_run(
    traced: Server, collector: Collector
) -> None:
    trace, client, header = new_trace()
    path = run(traced, header)
    spans = collector.trace(trace, *NAMES)
    assert parents(spans) == {
        REQUEST: client,
        "run traced": REQUEST,
        "node first": "run traced",
        "node left": "run traced",
        "node right": "run traced",
        "node inside": "run traced",
        "node within": "node inside",
        "node last": "run traced",
        "own first": "node first",
        "own left": "node left",
        "own right": "node right",
        "own within": "node within",
        "own call": "node last",
        "node again": "own call",
    }
    assert spans[REQUEST].kind == SERVER
    assert spans[REQUEST].attributes["http.response.status_code"] == 200
    told = spans["run traced"].attributes
    assert path == f"/threads/{told['graphwire.thread_id']}/runs/{told['graphwire.run_id']}"
    assert (told["graphwire.status"], told["graphwire.graph_id"]) == ("success", "traced")
    assert not any(span.failed for span in spans.values())
    assert {span.service for span in spans.values()} == {"graphwire"}
    assert spans["node first"].end <= spans["node left"].start


def test_a_client_without_a_trace_begins_one(traced: Server, collector: Collector) -> None:
    path = f"/threads/{traced.new_thread()}/runs/stream"
    response = traced.request("POST", path, {"assistant_id": "echo", "input": {"x": 1}})
    response.rest()
    run_id = run_of(response).rpartition("/")[2]
    assert eventually(lambda: bool(collector.of(graphwire__run_id=run_id)))
    [found] = collector.of(graphwire__run_id=run_id)
    spans = collector.trace(found.trace, REQUEST, "run echo")
    assert spans[REQUEST].parent == ""
    assert spans["run echo"].parent == spans[REQUEST].id


def test_what_fails_is_marked_from_the_node_to_the_run(traced: Server, collector: Collector) -> None:
    trace, _, header = new_trace()
    run(traced, header, fail=True, out=[])
    spans = collector.trace(trace, *(name for name in NAMES if name not in ("node last", "node again")))
    failed = {name for name, span in spans.items() if span.failed}
    assert failed == {"own within", "node within", "node inside", "run traced"}
    assert spans["run traced"].attributes["graphwire.status"] == "error"
    assert spans["run traced"].events == ("exception",)


def test_a_question_is_no_failure(traced: Server, collector: Collector) -> None:
    trace, _, header = new_trace()
    run(traced, header, ask=True, out=[])
    spans = collector.trace(trace, *(name for name in NAMES if name != "node again"))
    assert not any(span.failed for span in spans.values())


def test_the_functional_api_is_one_node_with_the_spans_of_its_tasks(
    traced: Server, collector: Collector
) -> None:
    trace, _, header = new_trace()
    body = {"assistant_id": "functional", "input": 1}
    path = f"/threads/{traced.new_thread()}/runs/stream"
    traced.request("POST", path, body, headers={"traceparent": header}).rest()
    spans = collector.trace(trace, REQUEST, "run functional", "node functional", "own step")
    found = parents(spans)
    assert found["own step"] == "node functional"
    assert (found["node functional"], found["run functional"]) == ("run functional", REQUEST)


def test_a_batch_and_a_command_of_protocol_v2_are_traced_too(traced: Server, collector: Collector) -> None:
    trace, _, header = new_trace()
    traced.request(
        "POST", "/runs/batch", [{"assistant_id": "echo", "input": {}}], headers={"traceparent": header}
    ).body()
    collector.trace(trace, "POST /runs/batch", "run echo")
    trace, _, header = new_trace()
    command = {"id": 1, "method": "run.start", "params": {"assistant_id": "echo", "input": {}}}
    path = f"/threads/{traced.new_thread()}/commands"
    traced.request("POST", path, command, headers={"traceparent": header}).body()
    spans = collector.trace(trace, "POST /threads/{thread_id}/commands", "run echo")
    assert parents(spans)["run echo"] == "POST /threads/{thread_id}/commands"


def test_probes_are_not_traced_and_the_trace_is_not_shown_on_the_wire(
    traced: Server, collector: Collector
) -> None:
    trace, _, header = new_trace()
    for path in ("/ok", "/metrics", "/info"):
        traced.request("GET", path, headers={"traceparent": header}).body()
    assert collector.trace(trace, "GET /info").keys() == {"GET /info"}
    assert "traceparent" not in str(traced.get(run(traced, header)))


def test_runs_side_by_side_do_not_mix(traced: Server, collector: Collector) -> None:
    made = []
    for _ in range(10):
        trace, _, header = new_trace()
        body = {"assistant_id": "traced", "input": {"out": []}}
        path = f"/threads/{traced.new_thread()}/runs/stream"
        made.append((trace, traced.request("POST", path, body, headers={"traceparent": header})))
    for trace, response in made:
        response.rest()
        spans = collector.trace(trace, *NAMES)
        assert parents(spans)["own within"] == "node within"
        assert len([name for name in spans if name.startswith(("node", "own"))]) == 12


def test_a_log_line_names_the_trace(start_server: RunningServer, collector: Collector) -> None:
    server = start_server(CONFIG.with_name("telling.json"), LOG_JSON="1", **collector.environment)
    trace, _, header = new_trace()
    run(server, header, "telling", name="rice")
    assert eventually(lambda: server.log.count(f'"trace_id": "{trace}"') >= 2)


@pytest.mark.parametrize("away", ["http://127.0.0.1:1", "not an address"])
def test_a_collector_that_is_away_disturbs_nobody(start_server: RunningServer, away: str) -> None:
    server = start_server(TRACED, OTEL_EXPORTER_OTLP_ENDPOINT=away, OTEL_BSP_SCHEDULE_DELAY="20")
    assert server.wait("traced", {"out": []})["out"][-1] == "last"
    server.process.terminate()
    assert server.process.wait(10) == 0


def test_the_last_spans_are_sent_before_the_process_ends(
    start_server: RunningServer, collector: Collector
) -> None:
    slow = {**collector.environment, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    server = start_server(TRACED, OTEL_SERVICE_NAME="my-shop", **slow)
    trace, _, header = new_trace()
    run(server, header)
    server.process.terminate()
    assert server.process.wait(10) == 0
    spans = collector.trace(trace, *NAMES)
    assert {span.service for span in spans.values()} == {"my-shop"}


def test_a_worker_goes_on_with_the_trace_of_the_process_that_was_asked(
    start_cluster: Callable[..., Cluster], collector: Collector
) -> None:
    cluster = start_cluster(workers=1, config=TRACED, **collector.environment)
    trace, client, header = new_trace()
    run(cluster.servers[0], header)
    spans = collector.trace(trace, *NAMES)
    found = parents(spans)
    assert (found[REQUEST], found["run traced"], found["own within"]) == (client, REQUEST, "node within")
