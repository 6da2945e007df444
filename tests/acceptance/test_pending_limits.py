"""So many runs may wait for one caller; what comes then is told to come again later."""

from collections.abc import Iterator
from typing import Any

import pytest
import wire
from fix_gate import Gate, Node
from fix_server import RunningServer, Server
from langgraph_sdk import get_sync_client
from langgraph_sdk.errors import RateLimitError

LIMIT = 5
JOKE = {"assistant_id": "joke", "input": {"topic": "ice"}}


@pytest.fixture(scope="module")
def server(start_server: RunningServer) -> Server:
    return start_server(GRAPHWIRE_PENDING_RUNS_PER_IDENTITY_MAX=str(LIMIT))


@pytest.fixture
def full(server: Server, gate: Gate) -> Iterator[tuple[str, list[str]]]:
    """A thread behind whose run as many wait as may, and the paths of these."""
    thread, graph_input = server.new_thread(), gate.input()
    server.post(f"/threads/{thread}/runs", {"assistant_id": "gate", "input": graph_input})
    node: Node = gate.node(graph_input)
    waiting = [server.post(f"/threads/{thread}/runs", JOKE)["run_id"] for _ in range(LIMIT)]
    paths = [f"/threads/{thread}/runs/{run}" for run in waiting]
    yield thread, paths
    node.finish()
    for path in paths:
        server.get(f"{path}/join")


def refused(answer: wire.Response) -> tuple[int, str | None, str]:
    return answer.status, answer.header("retry-after"), answer.json()["detail"]


TOO_MANY = (429, "1", f"{LIMIT} of your runs are waiting; try again later")


@pytest.mark.parametrize("kind", ["", "/stream", "/wait"])
def test_a_run_that_would_have_to_wait_is_429(server: Server, full: tuple[str, list[str]], kind: str) -> None:
    assert refused(server.request("POST", f"/threads/{full[0]}/runs{kind}", JOKE)) == TOO_MANY


def test_a_delayed_run_is_429(server: Server, full: tuple[str, list[str]]) -> None:
    body = {**JOKE, "after_seconds": 3600}
    assert refused(server.request("POST", f"/threads/{server.new_thread()}/runs", body)) == TOO_MANY


def test_a_batch_is_429_and_starts_nothing(server: Server, full: tuple[str, list[str]]) -> None:
    server.post(f"{full[1][0]}/cancel")
    before = server.get(f"/threads/{full[0]}/runs")
    assert refused(server.request("POST", "/runs/batch", [JOKE, JOKE])) == TOO_MANY
    assert server.get(f"/threads/{full[0]}/runs") == before


def test_a_run_that_need_not_wait_is_taken(server: Server, full: tuple[str, list[str]]) -> None:
    assert server.wait("joke", {"topic": "ice"})["joke"] == "Why ice? Ha!"


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
def test_a_run_that_takes_the_place_of_those_that_wait_is_taken(
    server: Server, full: tuple[str, list[str]], strategy: str
) -> None:
    values = server.wait("joke", {"topic": "ice"}, full[0], multitask_strategy=strategy)
    assert values["joke"] == "Why ice? Ha!"


def test_a_repeated_call_is_answered(server: Server, full: tuple[str, list[str]]) -> None:
    server.post(f"{full[1][0]}/cancel")
    headers = {"Idempotency-Key": full[0]}
    path = f"/threads/{full[0]}/runs"
    once, again = (server.request("POST", path, JOKE, headers=headers).json() for _ in range(2))
    assert once["run_id"] == again["run_id"]


def test_there_is_room_again_when_one_that_waits_is_gone(server: Server, full: tuple[str, list[str]]) -> None:
    server.post(f"{full[1][0]}/cancel")
    assert server.request("POST", f"/threads/{full[0]}/runs", JOKE).status == 200
    assert refused(server.request("POST", f"/threads/{full[0]}/runs", JOKE)) == TOO_MANY


def test_nothing_of_a_refused_run_is_kept(server: Server, full: tuple[str, list[str]]) -> None:
    thread = "11111111-0000-4000-8000-000000000001"
    body: dict[str, Any] = {**JOKE, "after_seconds": 3600, "if_not_exists": "create"}
    named = {**body, "run_id": "11111111-0000-4000-8000-000000000002"}
    for _ in range(2):
        assert refused(server.request("POST", f"/threads/{thread}/runs", named)) == TOO_MANY
    assert server.request("GET", f"/threads/{thread}").status == 404


def test_the_python_sdk_knows_the_error(server: Server, full: tuple[str, list[str]]) -> None:
    client = get_sync_client(url=server.url, api_key=None)
    with pytest.raises(RateLimitError, match="of your runs are waiting"):
        client.runs.create(full[0], "joke", input={"topic": "ice"})
