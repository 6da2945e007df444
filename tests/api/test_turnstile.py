"""Who asks for more than his share is told when to come again; others, probes and graphs are not held up."""

from typing import Any

import pytest
import wire
from fix_auth import GRAPHS, bearer
from fix_gate import Gate
from fix_scrape import scrape
from fix_server import RunningServer, Server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from server.api.turnstile import Limited
from server.rules.limits import RequestLimits, Turnstile

BURST, AT_ONCE, RUNS = 30, 3, 2


@pytest.fixture(scope="module")
def slow_rate(start_server: RunningServer) -> Server:
    """A request in a thousand seconds, but for the first few."""
    return start_server(GRAPHWIRE_REQUEST_RATE_MAX="0.001", GRAPHWIRE_REQUEST_BURST_MAX=str(BURST))


@pytest.fixture(scope="module")
def narrow(start_server: RunningServer) -> Server:
    return start_server(GRAPHWIRE_REQUESTS_AT_ONCE_MAX=str(AT_ONCE))


@pytest.fixture(scope="module")
def few_runs(start_server: RunningServer) -> Server:
    return start_server(GRAPHWIRE_RUNS_PER_IDENTITY_MAX=str(RUNS))


def refused(answer: wire.Response) -> tuple[int, str | None, str]:
    return answer.status, answer.header("retry-after"), answer.json()["detail"]


def test_more_requests_than_the_rate_are_429_and_say_when_to_come_again(slow_rate: Server) -> None:
    answers = [slow_rate.request("GET", "/info") for _ in range(BURST + 5)]
    assert [answer.status for answer in answers] == [200] * BURST + [429] * 5
    _, after, text = refused(answers[-1])
    assert 900 < int(after or "") <= 1000
    assert text == f"More than 0.001 requests a second; try again in {after} s"
    assert answers[-1].header("x-request-id")
    for _ in range(3):  # probes are asked for by nobody in particular
        assert slow_rate.request("GET", "/ok").status == 200


def test_more_requests_at_once_than_allowed_are_429_open_streams_included(narrow: Server, gate: Gate) -> None:
    before = scrape(narrow)
    given = [gate.input() for _ in range(AT_ONCE)]
    paths = [f"/threads/{narrow.new_thread()}/runs/stream" for _ in given]
    streams = [
        narrow.request("POST", path, {"assistant_id": "gate", "input": graph_input})
        for path, graph_input in zip(paths, given, strict=True)
    ]
    nodes = [gate.node(graph_input) for graph_input in given]
    answer = narrow.request("GET", "/info")
    assert refused(answer) == (429, "1", f"{AT_ONCE} of your requests are under way; try again later")
    assert narrow.request("GET", "/ok").status == 200
    nodes[0].finish()
    streams[0].rest()
    name = "graphwire_http_refused_total"
    assert scrape(narrow).value(name, limit="at_once") - before.value(name, limit="at_once") >= 1
    for node, stream in zip(nodes[1:], streams[1:], strict=True):
        node.finish()
        stream.rest()


def test_graphs_that_call_their_own_server_are_not_counted(narrow: Server) -> None:
    given = {"way": "many_at_once", "graph": "echo", "input": {"x": 1}, "count": 3 * AT_ONCE}
    assert len(narrow.wait("nested", given)["out"]) == 3 * AT_ONCE


def test_more_runs_of_one_caller_than_allowed_are_429_until_one_has_ended(
    few_runs: Server, gate: Gate
) -> None:
    given = [gate.input() for _ in range(RUNS)]
    threads = [few_runs.new_thread() for _ in given]
    for thread, graph_input in zip(threads, given, strict=True):
        few_runs.post(f"/threads/{thread}/runs", {"assistant_id": "gate", "input": graph_input})
    nodes = [gate.node(graph_input) for graph_input in given]
    run: dict[str, Any] = {"assistant_id": "echo", "input": {"x": 1}}
    text = f"{RUNS} of your runs are waiting or running; try again later"
    for path in ("/runs/wait", f"/threads/{few_runs.new_thread()}/runs", "/runs/stream"):
        assert refused(few_runs.request("POST", path, run)) == (429, "1", text)
    # Who takes the place of another one of his does not need one more.
    answer = few_runs.request(
        "POST", f"/threads/{threads[0]}/runs", {**run, "multitask_strategy": "interrupt"}
    )
    assert answer.status == 200
    few_runs.get(f"/threads/{threads[0]}/runs/{answer.json()['run_id']}/join")
    assert few_runs.wait("echo", {"x": 1}) is not None
    nodes[1].finish()
    for node in nodes:
        node.close()


def app(limits: RequestLimits) -> Starlette:
    async def hello(request: Request) -> Response:
        return Response("hello")

    async def greet(socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive_text()

    made = Starlette(routes=[Route("/hello", hello), WebSocketRoute("/socket", greet)])
    made.add_middleware(Limited, turnstile=Turnstile(limits))
    return made


def test_callers_are_told_apart_by_their_addresses() -> None:
    limited = app(RequestLimits(per_second=0.001, burst=2))
    first, second = (TestClient(limited, client=(host, 1)) for host in ("203.0.113.7", "203.0.113.8"))
    assert [first.get("/hello").status_code for _ in range(3)] == [200, 200, 429]
    assert second.get("/hello").status_code == 200


def test_a_customer_does_not_get_more_by_the_many_addresses_of_his_network() -> None:
    limited = app(RequestLimits(per_second=0.001, burst=2))
    clients = [TestClient(limited, client=(f"2001:db8:1:2::{number:x}", 1)) for number in range(1, 4)]
    assert [client.get("/hello").status_code for client in clients] == [200, 200, 429]
    assert TestClient(limited, client=("2001:db8:1:3::1", 1)).get("/hello").status_code == 200


def test_open_sockets_count_and_one_too_many_is_refused_before_it_is_open() -> None:
    client = TestClient(app(RequestLimits(at_once=1)))
    with client.websocket_connect("/socket") as socket:
        with pytest.raises(WebSocketDenialResponse) as refusal, client.websocket_connect("/socket"):
            pass
        assert (refusal.value.status_code, refusal.value.headers["retry-after"]) == (429, "1")
        assert client.get("/hello").status_code == 429
        socket.send_text("done")
    assert client.get("/hello").status_code == 200


def test_users_are_told_apart_by_who_they_are(start_server: RunningServer) -> None:
    rate = {"GRAPHWIRE_REQUEST_RATE_MAX": "0.001", "GRAPHWIRE_REQUEST_BURST_MAX": "3"}
    guarded = start_server(GRAPHS / "auth.json", **rate)

    def ask(user: str) -> int:
        return guarded.request("GET", "/docs", headers=bearer(user)).status

    assert [ask("ann") for _ in range(5)] == [200, 200, 200, 429, 429]
    assert [ask("bob") for _ in range(4)] == [200, 200, 200, 429]
