"""What the log says of a request and its run, and what it must not say (reliability L3)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fix_auth import GRAPHS, bearer
from fix_fork import fork
from fix_server import CONFIG, RunningServer, Server, eventually, run_of

TELLING = CONFIG.with_name("telling.json")
SIGNING = "whsec_c2lnbmluZy1zZWNyZXQtb2YtdGhpcy1zZXJ2ZXI="


@pytest.fixture(scope="module")
def telling(start_server: RunningServer) -> Server:
    return start_server(TELLING, LOG_JSON="true")


@pytest.fixture(scope="module")
def talkative(start_server: RunningServer) -> Server:
    """A server with secrets that tells people all it can."""
    return start_server(TELLING, LOG_LEVEL="DEBUG", GRAPHWIRE_WEBHOOK_SECRET=SIGNING)


def lines(server: Server, **having: Any) -> list[dict[str, Any]]:
    """The lines of a log in which these stand."""
    found = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [line for line in found if having.items() <= line.items()]


def line(server: Server, **having: Any) -> dict[str, Any]:
    assert eventually(lambda: bool(lines(server, **having))), f"no line with {having}:\n{server.log[-3000:]}"
    [found] = lines(server, **having)
    return found


def test_a_request_its_run_and_what_the_nodes_say_have_the_same_ids(telling: Server) -> None:
    thread = telling.new_thread()
    body = {"assistant_id": "telling", "input": {"name": "tea"}}
    path = f"/threads/{thread}/runs/stream"
    response = telling.request("POST", path, body, headers={"X-Request-Id": "order-1"})
    response.rest()
    ids = {
        "request_id": "order-1",
        "run_id": run_of(response).rpartition("/")[2],
        "thread_id": thread,
        "graph_id": "telling",
    }
    for said in ("asked for tea", "counted tea"):
        found = line(telling, event=said)
        assert {key: found[key] for key in ids} == ids
        assert (found["logger"], found["level"]) == ("shop", "warning")
    access = line(telling, event="request", path=path)
    assert (access["method"], access["status"], access["request_id"]) == ("POST", 200, "order-1")
    assert access["bytes"] > 100
    assert access["ms"] > 0
    assert "run_id" not in access


def test_a_run_in_the_background_tells_who_had_asked_for_it(telling: Server) -> None:
    body = {"assistant_id": "telling", "input": {"name": "milk"}, "after_seconds": 0.05}
    path = f"/threads/{telling.new_thread()}/runs"
    made = telling.request("POST", path, body, headers={"X-Request-Id": "order-2"}).json()
    found = line(telling, event="counted milk")
    assert (found["request_id"], found["run_id"]) == ("order-2", made["run_id"])


def test_runs_side_by_side_are_not_mixed_up(telling: Server) -> None:
    thread_of = {f"cup {number}": telling.new_thread() for number in range(20)}
    for name, thread in thread_of.items():
        telling.post(f"/threads/{thread}/runs", {"assistant_id": "telling", "input": {"name": name}})
    for name, thread in thread_of.items():
        assert line(telling, event=f"asked for {name}")["thread_id"] == thread
        assert line(telling, event=f"counted {name}")["thread_id"] == thread


def test_a_run_that_fails_is_told_with_its_ids_and_its_traceback(telling: Server) -> None:
    thread = telling.new_thread()
    given = {"name": "soup", "fail": "there is none"}
    telling.stream("telling", given, thread).rest()
    found = line(telling, event="run failed", thread_id=thread)
    assert found["graph_id"] == "telling"
    assert "ValueError: there is none" in found["exception"]


def test_probes_and_queries_are_not_in_the_access_log(telling: Server) -> None:
    telling.request("GET", "/ok").body()
    telling.request("GET", f"/threads/{telling.new_thread()}/runs?limit=7&select=status").body()
    assert eventually(lambda: any(found["path"].endswith("/runs") for found in lines(telling, method="GET")))
    assert lines(telling, path="/ok") == []
    assert "limit=7" not in telling.log


def test_the_access_log_can_be_switched_off(start_server: RunningServer) -> None:
    silent = start_server(TELLING, LOG_JSON="true", LOG_LEVEL="DEBUG", GRAPHWIRE_ACCESS_LOG="false")
    silent.wait("telling", {"name": "water"})
    assert line(silent, event="counted water")
    assert lines(silent, event="request") == []


def test_secrets_of_callers_are_in_no_line_no_error_and_not_in_the_document(talkative: Server) -> None:
    """Everywhere in requests, good and bad ones, at the level that says most."""
    used: list[str] = []

    def secret(place: str) -> str:
        used.append(f"secret-{place}-{len(used)}-9f8e7d")
        return used[-1]

    answers: list[bytes] = []

    def ask(method: str, path: str, body: Any = None, **more: Any) -> None:
        headers = {
            "Authorization": f"Bearer {secret('bearer')}",
            "Cookie": f"session={secret('cookie')}",
            "X-Api-Key": secret("key"),
            "X-Custom": secret("header"),
            "Idempotency-Key": secret("idempotency"),
        }
        response = talkative.request(method, path, body, headers=headers, **more)
        found = response.body()
        if response.status >= 400:
            answers.append(found)

    query = f"?token={secret('query')}&limit={secret('number')}&action={secret('choice')}"
    thread = talkative.new_thread()
    config = {"configurable": {"api_key": secret("configurable")}, "metadata": {"a": secret("metadata")}}
    run = {"assistant_id": "telling", "input": {"name": "n", "more": secret("input")}, "config": config}
    ask("POST", f"/threads/{thread}/runs/wait{query}", run)
    ask("POST", f"/threads/{thread}/runs/wait", {**run, "assistant_id": {"a": secret("type")}})
    ask("POST", f"/threads/{thread}/runs/wait", {**run, "stream_mode": secret("mode")})
    ask("POST", f"/threads/{thread}/runs/wait", {**run, "webhook": f"https://u:{secret('url')}@x.invalid/"})
    ask("POST", f"/threads/{thread}/runs/wait", raw=f'{{"broken": "{secret("broken")}'.encode())
    ask("GET", f"/threads/{thread}/runs{query}")
    ask("GET", f"/ok?check_db={secret('check')}")
    ask("POST", "/threads", {"metadata": [secret("list")], "thread_id": {"a": secret("id")}})
    ask("PUT", "/store/items", {"namespace": secret("namespace"), "key": 1, "value": secret("value")})
    assert len(answers) >= 6
    talkative.wait("telling", {"name": "the last"})
    assert eventually(lambda: "counted the last" in talkative.log)
    log, document = talkative.log, json.dumps(talkative.get("/openapi.json"))
    assert "[debug" in log
    assert [text for text in used if text in log or text in document] == []
    assert [text for text in used if any(text.encode() in answer for answer in answers)] == []
    assert SIGNING not in log + document
    assert SIGNING.removeprefix("whsec_") not in log + document


def test_a_path_forges_no_line(talkative: Server) -> None:
    talkative.request("GET", "/a%0a2026-11-23%20%5binfo%5d%20forged%1b%5b31m%e2%80%a8b").body()
    assert eventually(lambda: "forged" in talkative.log)
    [found] = [line for line in talkative.log.splitlines() if "forged" in line]
    assert re.match(r"\S+ \[info +\] request", found)
    assert "\\\\n2026-11-23 [info] forged\\\\x1b[31m\\\\u2028b" in found


@pytest.mark.parametrize("uri", ["://u:pass-word-1@db", "postgresql://u:pass-word-1@db:pass-word-1/x"])
def test_a_start_that_fails_does_not_print_passwords(tmp_path: Path, uri: str) -> None:
    env = {"DATABASE_URI": uri, "REDIS_URI": "redis://:pass-word-1@db"}
    log = tmp_path / "start.log"
    assert fork(["migrate", "--config", str(TELLING), "--traceback"], env, log).wait(30) == 2
    assert "pass-word-1" not in log.read_text()


def test_the_log_says_who_asked_and_nothing_else_of_him(start_server: RunningServer) -> None:
    guarded = start_server(GRAPHS / "auth.json", LOG_JSON="true", LOG_LEVEL="DEBUG")
    ann = bearer("annabelle")
    thread = guarded.request("POST", "/threads", {}, headers=ann).json()["thread_id"]
    body = {"assistant_id": "whoami", "input": {}}
    guarded.request("POST", f"/threads/{thread}/runs/wait", body, headers=ann).body()
    guarded.request("GET", "/threads/search", headers=bearer("stranger-1")).body()
    path = f"/threads/{thread}/runs/wait"
    assert line(guarded, event="request", path=path)["identity"] == "annabelle"
    assert line(guarded, event="request", status=401, path="/threads/search")
    assert not [
        secret for secret in ("Bearer", "s3cret-of", "example.com", "stranger-1") if secret in guarded.log
    ]
