"""Webhooks through the front door: every way a run can end, the policy, the log, a crash."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fix_engine import SOON_MISSED, Engine
from fix_gate import Gate
from fix_receiver import Receiver, Receivers
from fix_server import CONFIG, REPO, RunningServer, Server, eventually, start, stop

SECRET = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENV = {
    "GRAPHWIRE_WEBHOOK_NETWORKS": "127.0.0.0/8",
    "GRAPHWIRE_WEBHOOK_SECRET": f"whsec_{SECRET}",
    "GRAPHWIRE_WEBHOOK_WAIT_SECONDS": "0.001",
}


@pytest.fixture(scope="module")
def open_server(start_server: RunningServer) -> Server:
    """A server that may call the receivers of the tests."""
    return start_server(**ENV)


def run_in_background(
    server: Server, graph: str, graph_input: Any, thread: str, there: Receiver, **more: Any
) -> Any:
    body = {"assistant_id": graph, "input": graph_input, "webhook": there.url, **more}
    return server.post(f"/threads/{thread}/runs", body)


def deliveries(server: Server, thread: str, run: str) -> Any:
    return server.get(f"/threads/{thread}/runs/{run}/deliveries")


def delivered(server: Server, thread: str, run: str) -> Any:
    """The log of a run's webhook once it is over."""
    assert eventually(lambda: [found["status"] for found in deliveries(server, thread, run)] in OVER)
    return deliveries(server, thread, run)


OVER = (["delivered"], ["failed"])

# ------------------------------------------------------------------------------------- how runs end


def test_a_run_that_succeeds_is_told_with_its_values(open_server: Server, receiver: Receivers) -> None:
    there, thread = receiver(), open_server.new_thread()
    values = open_server.wait("echo", {"x": 1}, thread, webhook=there.url, metadata={"m": 1})
    hook = there.next()
    (run,) = open_server.get(f"/threads/{thread}/runs")
    told = hook.json
    for key in ("run_id", "thread_id", "assistant_id", "metadata", "status", "created_at", "updated_at"):
        assert told[key] == run[key]
    assert (told["values"], told["metadata"]["m"], told["status"]) == (values, 1, "success")
    assert told["created_at"] <= told["run_started_at"] <= told["run_ended_at"] <= told["webhook_sent_at"]
    assert "error" not in told
    assert hook.signed_by(base64.b64decode(SECRET))
    assert there.empty


def test_the_code_in_the_documents_verifies_it(open_server: Server, receiver: Receivers) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (REPO / "docs" / "webhooks.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    there = receiver()
    open_server.wait("echo", {"x": 1}, webhook=there.url)
    hook = there.next()
    assert found["verify"](f"whsec_{SECRET}", hook.headers, hook.body)
    assert not found["verify"]("some other secret", hook.headers, hook.body)
    assert not found["verify"](f"whsec_{SECRET}", hook.headers, hook.body + b" ")
    old = {**hook.headers, "webhook-timestamp": str(int(hook.headers["webhook-timestamp"]) - 301)}
    assert not found["verify"](f"whsec_{SECRET}", old, hook.body)


def test_what_is_told_holds_no_configuration(open_server: Server, receiver: Receivers) -> None:
    there = receiver()
    open_server.wait("echo", {"x": 1}, webhook=there.url, config={"configurable": {"api_key": "hunter2"}})
    hook = there.next()
    assert b"hunter2" not in hook.body
    assert {"config", "context", "input", "command"}.isdisjoint(hook.json["kwargs"])


def test_a_run_that_fails_is_told_without_the_text_of_the_exception(
    open_server: Server, receiver: Receivers
) -> None:
    there = receiver()
    open_server.wait("boom", {"how": "plain"}, webhook=there.url)
    hook = there.next()
    assert (hook.json["status"], hook.json["error"]["error"]) == ("error", "ValueError")
    assert b"hunter2" not in hook.body
    assert hook.json["values"]["out"] == "fine so far"


def test_an_interrupt_is_told_with_its_question(open_server: Server, receiver: Receivers) -> None:
    there = receiver()
    open_server.wait("intr", {"x": "1"}, webhook=there.url)
    told = there.next().json
    assert told["status"] == "success"
    assert [asked["value"]["question"] for asked in told["interrupts"]] == ["ok?"]


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
def test_a_cancelled_run_is_told(open_server: Server, receiver: Receivers, gate: Gate, action: str) -> None:
    there, thread, graph_input = receiver(), open_server.new_thread(), gate.input()
    run = run_in_background(open_server, "gate", graph_input, thread, there)
    gate.node(graph_input)
    open_server.post(f"/threads/{thread}/runs/{run['run_id']}/cancel?wait=1&action={action}")
    told = there.next().json
    kind = {"interrupt": "UserInterrupt", "rollback": "UserRollback"}[action]
    assert (told["run_id"], told["status"], told["error"]["error"]) == (run["run_id"], "interrupted", kind)
    assert "cancel" in told["reason"]


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
def test_a_run_that_is_cancelled_while_it_waits_is_told(
    open_server: Server, receiver: Receivers, gate: Gate, action: str
) -> None:
    there, thread, graph_input = receiver(), open_server.new_thread(), gate.input()
    open_server.post(f"/threads/{thread}/runs", {"assistant_id": "gate", "input": graph_input})
    node = gate.node(graph_input)
    run = run_in_background(open_server, "echo", {"x": 1}, thread, there)
    open_server.post(f"/threads/{thread}/runs/{run['run_id']}/cancel?action={action}")
    told = there.next().json
    assert (told["run_id"], told["status"], told["run_started_at"]) == (run["run_id"], "interrupted", None)
    node.finish()


def test_a_run_that_another_one_pushes_aside_is_told(
    open_server: Server, receiver: Receivers, gate: Gate
) -> None:
    there, thread, graph_input = receiver(), open_server.new_thread(), gate.input()
    run_in_background(open_server, "gate", graph_input, thread, there)
    gate.node(graph_input)
    open_server.wait("echo", {"x": 1}, thread, multitask_strategy="interrupt")
    assert "superseded by run" in there.next().json["reason"]


def test_a_run_that_took_too_long_is_told(
    start_server: RunningServer, receiver: Receivers, gate: Gate
) -> None:
    server, there = start_server(**ENV, BG_JOB_TIMEOUT_SECS="0.2"), receiver()
    run_in_background(server, "gate", gate.input(), server.new_thread(), there)
    told = there.next().json
    assert (told["status"], told["error"]["error"]) == ("timeout", "TimeoutError")


def test_a_queued_run_tells_when_it_began(open_server: Server, receiver: Receivers, gate: Gate) -> None:
    there, thread, graph_input = receiver(), open_server.new_thread(), gate.input()
    open_server.post(f"/threads/{thread}/runs", {"assistant_id": "gate", "input": graph_input})
    node = gate.node(graph_input)
    run_in_background(open_server, "echo", {"x": 1}, thread, there)
    node.finish()
    told = there.next().json
    first = open_server.get(f"/threads/{thread}/runs")[1]
    assert told["created_at"] < first["updated_at"] <= told["run_started_at"] <= told["run_ended_at"]


def test_every_run_of_a_batch_is_told(open_server: Server, receiver: Receivers) -> None:
    there = receiver()
    body = {"assistant_id": "echo", "input": {"x": 1}, "webhook": there.url}
    runs = open_server.post("/runs/batch", [body] * 5)
    assert {there.next().json["run_id"] for _ in runs} == {run["run_id"] for run in runs}


# ------------------------------------------------------------------------------------- the log


def test_the_log_tells_of_every_try(open_server: Server, receiver: Receivers) -> None:
    there, thread = receiver(500, 302), open_server.new_thread()
    run = run_in_background(open_server, "echo", {"x": 1}, thread, there)
    hooks = [there.next() for _ in range(3)]
    (found,) = delivered(open_server, thread, run["run_id"])
    assert {hook.headers["webhook-id"] for hook in hooks} == {found["delivery_id"]}
    assert found["status"] == "delivered"
    assert [tried["status"] for tried in found["tries"]] == [500, 302, 200]
    assert (found["run_id"], found["thread_id"]) == (run["run_id"], thread)
    assert found["next_try_at"] is None


def test_the_log_does_not_show_the_query_of_the_url(open_server: Server, receiver: Receivers) -> None:
    there, thread = receiver(), open_server.new_thread()
    body = {"assistant_id": "echo", "input": {"x": 1}, "webhook": f"{there.url}?token=hunter2"}
    run = open_server.post(f"/threads/{thread}/runs", body)
    assert there.next().target == "/hook?token=hunter2"
    (found,) = delivered(open_server, thread, run["run_id"])
    assert found["url"] == there.url


def test_the_log_of_a_stateless_run_outlives_it(open_server: Server, receiver: Receivers) -> None:
    there = receiver()
    open_server.wait("echo", {"x": 1}, None, webhook=there.url)
    told = there.next().json
    thread, run = told["thread_id"], told["run_id"]
    assert open_server.request("GET", f"/threads/{thread}/runs/{run}").status == 404
    assert delivered(open_server, thread, run)[0]["status"] == "delivered"


def test_a_run_without_a_webhook_has_an_empty_log_and_an_unknown_one_none(open_server: Server) -> None:
    thread = open_server.new_thread()
    run = open_server.post(f"/threads/{thread}/runs", {"assistant_id": "echo", "input": {"x": 1}})
    assert deliveries(open_server, thread, run["run_id"]) == []
    path = f"/threads/{thread}/runs/{thread}/deliveries"
    assert open_server.request("GET", path).status == 404
    assert open_server.request("GET", f"/threads/{thread}/runs/x/deliveries").status == 422


# ------------------------------------------------------------------------------------- slow, dead, hostile


def test_a_receiver_that_does_not_answer_delays_neither_the_run_nor_others(
    open_server: Server, receiver: Receivers
) -> None:
    slow, fast = receiver(*["hold"] * 10), receiver()
    for _ in range(10):
        assert open_server.wait("echo", {"x": 1}, webhook=slow.url)
        assert open_server.wait("echo", {"x": 1}, webhook=fast.url)
    for _ in range(10):
        fast.next()
    assert slow.connections <= 4
    for _ in range(10):
        slow.next().answer(200)


def test_a_receiver_that_is_not_there_is_given_up_in_the_end(
    open_server: Server, receiver: Receivers
) -> None:
    there, thread = receiver(), open_server.new_thread()
    there.close()
    run = run_in_background(open_server, "echo", {"x": 1}, thread, there)
    (found,) = delivered(open_server, thread, run["run_id"])
    assert (found["status"], len(found["tries"])) == ("failed", 5)
    assert open_server.get(f"/threads/{thread}/runs/{run['run_id']}")["status"] == "success"


@pytest.mark.parametrize(
    "path", ["/threads/{}/runs", "/threads/{}/runs/wait", "/threads/{}/runs/stream", "/runs"]
)
def test_a_place_of_our_own_is_refused_before_anything_is_made(server: Server, path: str) -> None:
    thread = server.new_thread()
    body = {"assistant_id": "echo", "input": {"x": 1}, "webhook": "http://127.0.0.1:9/"}
    response = server.request("POST", path.format(thread), body)
    assert (response.status, response.json()) == (
        422,
        {"detail": "Webhook host blocked: loopback IP range"},
    )
    assert server.get(f"/threads/{thread}/runs") == []


def test_one_bad_webhook_refuses_the_whole_batch(server: Server) -> None:
    good = {"assistant_id": "echo", "input": {"x": 1}}
    response = server.request("POST", "/runs/batch", [good, {**good, "webhook": "ftp://example.com/"}])
    assert (response.status, response.json()) == (422, {"detail": "Webhook URL scheme 'ftp' not allowed"})


@pytest.mark.parametrize("webhook", ["", 5, "a" * 65_537])
def test_what_is_no_text_of_that_length_is_refused_by_its_field(server: Server, webhook: Any) -> None:
    response = server.request("POST", "/runs", {"assistant_id": "echo", "webhook": webhook})
    assert response.status == 422
    assert response.json()["detail"].startswith("webhook: ")


# ------------------------------------------------------------------------------------- configuration


@pytest.fixture
def configured(tmp_path: Path, start_server: RunningServer) -> Callable[..., Server]:
    """A server with the graphs of the tests and a `webhooks` of its own."""

    def start_one(webhooks: Any, **env: str) -> Server:
        document = json.loads(CONFIG.read_text())
        graphs = {
            name: str(CONFIG.parent / path) for name, path in document["graphs"].items() if name == "echo"
        }
        file = tmp_path / "langgraph.json"
        file.write_text(
            json.dumps({"graphs": graphs, "dependencies": [str(CONFIG.parent)], "webhooks": webhooks})
        )
        return start_server(file, **env)

    return start_one


def test_loopback_and_headers_of_the_project_file(
    configured: Callable[..., Server], receiver: Receivers
) -> None:
    server = configured(
        {
            "url": {"disable_loopback": False, "require_https": False},
            "headers": {"Authorization": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}"},
        },
        LG_WEBHOOK_TOKEN="t0ken",
    )
    there = receiver()
    server.wait("echo", {"x": 1}, webhook=there.url)
    hook = there.next()
    assert hook.headers["authorization"] == "Bearer t0ken"
    assert "webhook-signature" not in hook.headers


# ------------------------------------------------------------------------------------- kill -9


@pytest.fixture
def again(tmp_path: Path, engine: Engine) -> Iterator[Callable[..., Server]]:
    """Starts a server on one directory; one that still runs there is killed first."""
    started: list[Server] = []

    def start_one(**env: str) -> Server:
        for server in started:
            server.process.kill()
            server.process.wait()
        started.append(start(tmp_path, **{**ENV, **SOON_MISSED, **env}, engine=engine))
        return started[-1]

    yield start_one
    for server in started:
        stop(server)


def test_a_webhook_that_was_not_taken_before_a_crash_is_sent_after_it(
    again: Callable[..., Server], receiver: Receivers
) -> None:
    server, there = again(), receiver("hold")
    thread = server.new_thread()
    run = run_in_background(server, "echo", {"x": 1}, thread, there)
    lost = there.next()
    server = again()
    hook = there.next()
    assert hook.headers["webhook-id"] == lost.headers["webhook-id"]
    assert hook.json["run_id"] == run["run_id"]
    assert delivered(server, thread, run["run_id"])[0]["status"] == "delivered"
    assert there.empty


def test_a_try_that_waited_for_its_time_is_made_after_a_crash(
    again: Callable[..., Server], receiver: Receivers
) -> None:
    server, there = again(GRAPHWIRE_WEBHOOK_WAIT_SECONDS="2"), receiver(500)
    thread = server.new_thread()
    run = run_in_background(server, "echo", {"x": 1}, thread, there)
    first = there.next()
    assert eventually(lambda: len(deliveries(server, thread, run["run_id"])[0]["tries"]) == 1)
    server = again()
    assert there.next().headers["webhook-id"] == first.headers["webhook-id"]
    assert [tried["status"] for tried in delivered(server, thread, run["run_id"])[0]["tries"]] == [500, 200]


def test_a_run_that_is_given_up_after_crashes_is_told(
    again: Callable[..., Server], receiver: Receivers, gate: Gate
) -> None:
    server, there, graph_input = again(BG_JOB_MAX_RETRIES="1"), receiver(), gate.input()
    run_in_background(server, "gate", graph_input, server.new_thread(), there)
    gate.node(graph_input)
    again(BG_JOB_MAX_RETRIES="1")
    told = there.next().json
    assert (told["status"], told["error"]["error"]) == ("error", "RunAbandoned")


def test_a_run_that_a_second_attempt_finishes_is_told_once(
    again: Callable[..., Server], receiver: Receivers, gate: Gate
) -> None:
    server, there, graph_input = again(), receiver(), gate.input()
    thread = server.new_thread()
    run = run_in_background(server, "gate", graph_input, thread, there)
    gate.node(graph_input)
    server = again()
    gate.node(graph_input).finish()
    assert there.next().json["attempt"] == 2
    assert len(delivered(server, thread, run["run_id"])) == 1
