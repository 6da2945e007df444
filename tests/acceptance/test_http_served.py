"""What else `http` of langgraph.json changes: the prefix, what is off, headers for runs and the log."""

import json
from pathlib import Path
from typing import Any

import pytest
import wire
from fix_cutter import Cut, Cutter
from fix_gate import Gate
from fix_server import RunningServer, Server, eventually
from fix_web import project
from langgraph_sdk import get_client, get_sync_client

ECHO = {"assistant_id": "echo", "input": {"x": 1}}


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> wire.Response:
    return wire.request(server.port, method, path, body, headers=headers)


# ------------------------------------------------------------------------------------------ the prefix


@pytest.fixture(scope="module")
def prefixed(start_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Under /api; the file says something else, but the environment wins."""
    webapp = (
        "from fastapi import FastAPI\n"
        "from langgraph_sdk import get_client\n"
        "app = FastAPI()\n"
        "@app.get('/mine')\n"
        "async def mine():\n"
        "    return await get_client().assistants.count()\n"
    )
    config = project(
        tmp_path_factory.mktemp("prefix"), {"mount_prefix": "/other", "app": "./webapp.py:app"}, webapp
    )
    return start_server(config, MOUNT_PREFIX="/api")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/ok", 200),
        ("/api/info", 200),
        ("/api/docs", 200),
        ("/api/mine", 200),
        ("/ok", 200),
        ("/", 200),
        ("/info", 404),
        ("/docs", 404),
        ("/mine", 404),
        ("/other/ok", 404),
        ("/apiary/ok", 404),
    ],
)
def test_everything_lies_under_the_prefix_and_only_probes_beside_it(
    prefixed: Server, path: str, status: int
) -> None:
    assert ask(prefixed, "GET", path).status == status


def test_locations_and_the_document_name_the_prefix(prefixed: Server) -> None:
    for path in ("/api/runs/stream", "/api/runs/wait", "/api/runs"):
        answer = ask(prefixed, "POST", path, ECHO)
        assert str(answer.header("content-location")).startswith(("/api/runs/", "/api/threads/"))
        if answer.header("location"):
            assert ask(prefixed, "GET", str(answer.header("location"))).status == 200
    assert ask(prefixed, "GET", "/api/openapi.json").json()["servers"] == [{"url": "/api"}]


def test_the_sdk_works_under_a_prefix(prefixed: Server) -> None:
    client = get_sync_client(url=f"{prefixed.url}/api")
    thread = client.threads.create()
    told: list[Any] = []
    parts = list(
        client.runs.stream(
            thread["thread_id"], "echo", input={"x": 1}, stream_mode="values", on_run_created=told.append
        )
    )
    assert parts[-1].data["x"] == 1
    assert (told[0]["thread_id"], len(told[0]["run_id"])) == (thread["thread_id"], 36)


async def test_the_sdk_resumes_a_cut_stream_under_a_prefix(prefixed: Server, gate: Gate) -> None:
    """It puts the path of `Location` behind its base URL, so that the prefix is there twice."""
    with_cuts = Cutter(prefixed.port)
    try:
        with_cuts.plan(Cut(700, "reset"))
        client = get_client(url=f"{with_cuts.url}/api")
        asked = gate.input()
        texts = []
        words = [f"word{number} " for number in range(20)]
        async for part in client.runs.stream(None, "gate", input=asked, stream_mode="messages-tuple"):
            if part.event == "metadata" and not texts:
                node = gate.node(asked)
                for word in words:
                    node.say(word)
                node.finish()
            if part.event == "messages":
                texts.append(part.data[0]["content"])
        assert "".join(texts) == "".join(words)
    finally:
        with_cuts.close()


def test_calls_from_within_need_no_prefix(prefixed: Server) -> None:
    assert ask(prefixed, "GET", "/api/mine").json() == 4


# ------------------------------------------------------------------------------------------ what is off


@pytest.mark.parametrize(
    ("group", "off", "on"),
    [
        ("assistants", "POST /assistants/search", "POST /threads"),
        ("threads", "POST /threads", "POST /runs/wait"),
        ("runs", "POST /runs/wait", "POST /threads"),
        ("runs", "POST /runs/crons/search", "POST /store/items/search"),
        ("store", "POST /store/items/search", "POST /threads"),
        ("meta", "GET /info", "POST /threads"),
        ("meta", "GET /", "GET /ok"),
        ("meta", "GET /docs", "GET /ok"),
    ],
)
def test_a_part_that_is_off_is_not_there(
    start_server: RunningServer, tmp_path: Path, group: str, off: str, on: str
) -> None:
    server = start_server(project(tmp_path, {f"disable_{group}": True}))
    for which, status in ((off, 404), (on, 200)):
        method, path = which.split()
        assert ask(server, method, path, ECHO if method == "POST" else None).status == status
    if group == "meta":
        assert ask(server, "GET", "/ok?check_db=nonsense").json() == {"ok": True}
    else:
        described = ask(server, "GET", "/openapi.json").json()["paths"]
        assert off.split()[1] not in described
        assert on.split()[1] in described


def test_a_server_without_webhooks_runs_and_tells_nobody(start_server: RunningServer, tmp_path: Path) -> None:
    server = start_server(project(tmp_path, {"disable_webhooks": True}))
    told = {**ECHO, "webhook": "http://127.0.0.1:9/never"}  # which would be refused with webhooks
    thread = server.new_thread()
    run = server.post(f"/threads/{thread}/runs", told)
    assert server.get(f"/threads/{thread}/runs/{run['run_id']}/join")["x"] == 1
    assert server.get(f"/threads/{thread}/runs/{run['run_id']}/deliveries") == []


# ------------------------------------------------------------------------------------------ headers


@pytest.fixture(scope="module")
def hearing(start_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    http = {
        "configurable_headers": {
            "includes": ["X-User-*", "x-api-key", "thread_id"],
            "excludes": ["*-secret"],
        },
        "logging_headers": {"include": ["x-*", "authorization"]},
    }
    return start_server(project(tmp_path_factory.mktemp("headers"), http), LOG_LEVEL="DEBUG")


SENT = {
    "X-User-Id": "u-7",
    "X-User-Secret": "s3cret",
    "X-Api-Key": "k3y",
    "X-Other": "other",
    "thread_id": "smuggled",
    "Authorization": "Bearer t0ken",
}


@pytest.mark.parametrize("path", ["/runs/wait", "/runs/batch", "/threads/{}/runs/wait", "v2"])
def test_chosen_headers_are_in_the_configuration_of_the_run(hearing: Server, path: str) -> None:
    body: Any = {"assistant_id": "seen", "input": {}, "config": {"configurable": {"x-user-id": "forged"}}}
    thread = hearing.new_thread()
    if path == "v2":
        command = {"id": 1, "method": "run.start", "params": body}
        started = ask(hearing, "POST", f"/threads/{thread}/commands", command, **SENT).json()
        seen = hearing.get(f"/threads/{thread}/runs/{started['result']['run_id']}/join")["seen"]
    elif path == "/runs/batch":
        run = ask(hearing, "POST", path, [{**body, "on_completion": "keep"}], **SENT).json()[0]
        seen = hearing.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/join")["seen"]
    else:
        seen = ask(hearing, "POST", path.format(thread), body, **SENT).json()["seen"]
    assert seen["x-user-id"] == "u-7"
    assert seen["thread_id"] != "smuggled"
    assert {"x-user-secret", "x-api-key", "x-other", "authorization"}.isdisjoint(seen)


def test_headers_beside_a_context_contradict_nothing(hearing: Server) -> None:
    body = {"assistant_id": "seen", "input": {}, "context": {"lang": "de"}}
    seen = ask(hearing, "POST", "/runs/wait", body, **SENT).json()["seen"]
    assert (seen["x-user-id"], seen["lang"]) == ("u-7", "de")


def test_chosen_headers_are_in_the_log_and_keys_never(hearing: Server) -> None:
    ask(hearing, "GET", "/info", **{**SENT, "X-Other": "to be logged"}).body()
    assert eventually(lambda: "to be logged" in hearing.log)
    assert "t0ken" not in hearing.log
    assert "k3y" not in hearing.log


def test_without_the_keys_no_header_gets_anywhere(server: Server) -> None:
    run = ask(server, "POST", "/runs", ECHO, **SENT).json()
    assert "u-7" not in json.dumps(run)
