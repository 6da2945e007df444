"""Authentication at every door (contract/resources.md 10.1, reliability S5): a real server, real handlers."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import wire
from fix_auth import ALICE, GRAPHS, bearer, variant
from fix_fork import REPO
from fix_server import RunningServer, Server, eventually
from langgraph_sdk import get_client
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from server.app import OPERATIONS

NOWHERE = "00000000-0000-4000-8000-000000000000"
PAGE = "http://localhost:3000"


@pytest.fixture(scope="module")
def guarded(start_server: RunningServer) -> Server:
    return start_server(GRAPHS / "auth.json")


# ------------------------------------------------------------------------------------------- every door


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: f"{found.method} {found.path}")
def test_without_a_token_no_operation_says_anything(guarded: Server, operation: Any) -> None:
    path = operation.path
    for name in ("thread_id", "run_id", "assistant_id", "cron_id", "checkpoint_id", "namespace"):
        path = path.replace(f"{{{name}}}", NOWHERE)
    answer = guarded.request(operation.method, path, {} if operation.body else None)
    if path in ("/ok", "/info"):  # this configuration opens the second
        assert answer.status == 200
        return
    assert (answer.status, answer.json()) == (401, {"detail": "no token"})
    assert answer.header("www-authenticate") == "Bearer"


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/ok/",
        "/ok/../threads",
        "//ok",
        "/OK",
        "/ok%2f..%2fthreads",
        "/threads%2f" + NOWHERE,
        "/ok;x",
        "/ok%00",
        "/",
        "/metrics",
        "/noauth/threads",
        "/noauth",
    ],
)
def test_what_is_no_public_path_needs_a_token_whether_it_exists_or_not(guarded: Server, path: str) -> None:
    assert guarded.request("GET", path).status == 401


def test_another_host_or_method_opens_nothing(guarded: Server) -> None:
    for host in ("localhost:1", "127.0.0.1"):  # others are not even asked who they are
        assert guarded.request("GET", "/threads/search", headers={"Host": host}).status == 401
    for method in ("OPTIONS", "POST", "PUT", "TRACE", "QUERY"):
        assert guarded.request(method, "/ok").status == 401, method
    assert guarded.request("HEAD", "/ok").status == 200
    forged = {"X-Forwarded-Prefix": "/noauth", "X-Original-Url": "/ok", "X-Rewrite-Url": "/ok"}
    assert guarded.request("POST", "/threads", {}, headers=forged).status == 401


def test_the_header_of_studio_opens_nothing(guarded: Server) -> None:
    studio = {"x-auth-scheme": "langsmith", "x-api-key": "lsv2_anything"}
    assert guarded.request("POST", "/threads", {}, headers=studio).status == 401


def test_browsers_may_ask_what_they_may_ask_and_can_read_a_refusal(guarded: Server) -> None:
    origin = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    assert guarded.request("OPTIONS", "/threads", headers=origin).status == 200
    refused = guarded.request("POST", "/threads", {}, headers={"Origin": PAGE})
    assert (refused.status, refused.header("access-control-allow-origin")) == (401, PAGE)
    assert refused.header("x-request-id")


def test_a_websocket_is_refused_before_it_is_open(guarded: Server) -> None:
    url = f"ws://127.0.0.1:{guarded.port}/threads/{NOWHERE}/stream/events"
    with pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    assert refused.value.response.status_code == 403
    with connect(url, additional_headers=ALICE) as socket:
        socket.send(json.dumps({"id": 1, "method": "agent.getTree"}))
        assert json.loads(socket.recv(10))["error"] == "no_such_run"


def test_two_authorization_headers_are_none(guarded: Server) -> None:
    with wire.socket.create_connection(("127.0.0.1", guarded.port)) as sock:
        head = "GET /threads/x HTTP/1.1\r\nHost: localhost\r\n"
        sock.sendall((head + "Authorization: Bearer alice\r\nAuthorization: Bearer bob\r\n\r\n").encode())
        assert wire.Response(sock, "GET").status == 401


# ----------------------------------------------------------------------------------- what a handler says


@pytest.mark.parametrize(
    ("token", "status", "body"),
    [
        ("default", 401, {"detail": "Unauthorized"}),
        ("h403", 403, {"detail": "custom forbidden"}),
        ("data", 402, {"detail": {"pay": 1}}),
        ("starlette", 410, {"detail": "gone"}),
        ("autherror", 403, {"detail": "not you"}),
        ("assert", 401, {"detail": "Unauthorized"}),
        ("boom", 500, {"detail": "Internal Server Error"}),
        ("exit", 500, {"detail": "Internal Server Error"}),
        ("teapot200", 500, {"detail": "Internal Server Error"}),
        ("none", 401, {"detail": "Unauthorized"}),
        ("noid", 401, {"detail": "Unauthorized"}),
        ("empty", 401, {"detail": "Unauthorized"}),
        ("number", 401, {"detail": "Unauthorized"}),
        ("out", 401, {"detail": "Unauthorized"}),
        ("words", 401, {"detail": "Unauthorized"}),
        ("un known", 401, {"detail": "Unauthorized"}),
    ],
)
def test_whoever_is_nobody_gets_the_answer_of_the_handler_or_none(
    guarded: Server, token: str, status: int, body: Any
) -> None:
    answer = wire.request(guarded.port, "POST", "/threads", {}, headers=bearer(token))
    assert (answer.status, answer.json()) == (status, body)


def test_headers_of_an_exception_are_sent(guarded: Server) -> None:
    assert guarded.request("POST", "/threads", {}, headers=bearer("h403")).header("x-why") == "because"


@pytest.mark.parametrize(
    ("token", "identity"),
    [("alice", "alice"), ("word", "worded"), ("tuple", "tupled"), ("object", "objective")],
)
async def test_graphs_know_who_asks(guarded: Server, token: str, identity: str) -> None:
    client = get_client(url=guarded.url, headers=bearer(token))
    found: Any = await client.runs.wait(None, "whoami", input={})
    told = found["told"]
    assert told["same"] == [identity] * 4
    assert (told["user_id"], told["auth_user_id"], told["server_info"]) == (identity,) * 3
    assert told["authenticated"] is True
    assert told["permissions"] == {"alice": ["read"], "tuple": ["a", "b"]}.get(token, [])
    if token == "alice":
        assert told["has"] == [True, False, True]
        assert told["email"] == ["alice@example.com"] * 2
        assert told["user"]["api_token"] == "s3cret-of-alice"  # the graph may need it
    if token == "object":
        assert told["user"]["team"] == "blue"


FORGED = {
    "langgraph_auth_user": {"identity": "root", "smuggled": 1},
    "langgraph_auth_user_id": "root",
    "langgraph_auth_permissions": ["admin"],
    "langgraph_auth_smuggled": "x",
    "__smuggled": "x",
    "user_id": "root",
    "thread_id": NOWHERE,
    "mine": "kept",
}


@pytest.mark.parametrize("where", ["config", "context", "assistant", "cron_config", "v2"])
async def test_nobody_says_that_he_is_somebody_else(guarded: Server, where: str) -> None:
    client = get_client(url=guarded.url, headers=ALICE)
    config: Any = {"configurable": dict(FORGED)}
    thread: Any = await client.threads.create()
    thread_id = thread["thread_id"]
    found: Any
    if where == "config":
        found = await client.runs.wait(thread_id, "whoami", input={}, config=config)
    elif where == "context":
        found = await client.runs.wait(thread_id, "whoami", input={}, context=dict(FORGED))
    elif where == "assistant":
        made: Any = await client.assistants.create("whoami", config=config)
        found = await client.runs.wait(thread_id, made["assistant_id"], input={})
    elif where == "cron_config":
        await client.crons.create_for_thread(
            thread_id, "whoami", schedule="* * * * * *", input={}, config=config
        )
        assert eventually(lambda: "told" in (_thread(guarded, thread_id)["values"] or {}))
        found = _thread(guarded, thread_id)["values"]
    else:
        command = {
            "id": 1,
            "method": "run.start",
            "params": {"assistant_id": "whoami", "input": {}, "config": config},
        }
        path = f"/threads/{thread_id}/commands"
        assert guarded.request("POST", path, command, headers=ALICE).json()["type"] == "success"
        assert eventually(lambda: "told" in (_thread(guarded, thread_id)["values"] or {}))
        found = _thread(guarded, thread_id)["values"]
    told = found["told"]
    assert (told["auth_user_id"], told["user_id"], told["server_info"]) == ("alice",) * 3
    assert told["user"]["identity"] == "alice"
    assert told["permissions"] == ["read"]
    assert told["smuggled"] == []


def _thread(server: Server, thread_id: str) -> Any:
    return server.request("GET", f"/threads/{thread_id}", headers=ALICE).json()


async def test_factories_are_told_who_reads(guarded: Server) -> None:
    client = get_client(url=guarded.url, headers=ALICE)
    thread: Any = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "made", input={})
    state: Any = await client.threads.get_state(thread["thread_id"])
    assert state["values"]["told"]["user_id"] == "alice"
    assert (await client.assistants.get_graph("made"))["nodes"]


def test_without_authentication_nobody_is_known_and_user_id_is_the_clients_own(
    start_server: RunningServer, tmp_path: Path
) -> None:
    server = start_server(variant(tmp_path, None))
    told = server.wait(
        "whoami", {}, config={"configurable": {"user_id": "me", "langgraph_auth_user": {"a": 1}}}
    )
    assert told["told"]["user"] is None
    assert (told["told"]["user_id"], told["told"]["auth_user_id"]) == ("me", "")
    assert server.wait("whoami", {})["told"]["user_id"] == ""


# -------------------------------------------------------------------------------------- handlers that block


def test_a_handler_that_blocks_holds_up_nobody_else(start_server: RunningServer, tmp_path: Path) -> None:
    server = start_server(variant(tmp_path, {"path": f"{GRAPHS}/guard.py:blocking"}))
    slow = threading.Thread(target=server.request, args=("POST", "/threads?token=slow", {}))
    slow.start()
    assert server.request("POST", "/threads?token=other", {}).status == 200
    assert server.request("GET", "/ok").status == 200
    assert slow.is_alive()
    assert server.request("POST", "/threads?token=quick", {}).status == 200
    slow.join(10)
    assert not slow.is_alive()


def test_a_handler_may_read_the_body_and_the_operation_has_it_still(
    start_server: RunningServer, tmp_path: Path
) -> None:
    server = start_server(variant(tmp_path, {"path": f"{GRAPHS}/guard.py:reading"}))
    made = server.request("POST", "/threads", {"metadata": {"who": "ann"}})
    assert made.json()["metadata"] == {"who": "ann"}
    assert wire.request(server.port, "POST", "/threads", {"metadata": {}}).status == 500


# -------------------------------------------------------------------------------------------- the document


def test_the_document_says_how_to_authenticate(guarded: Server) -> None:
    found = guarded.request("GET", "/openapi.json", headers=ALICE).json()
    assert found["components"]["securitySchemes"] == {"tok": {"type": "http", "scheme": "bearer"}}
    assert found["security"] == [{"tok": []}]
    assert found["paths"]["/threads"]["post"]["security"] == [{"tok": ["write"]}]
    assert found["paths"]["/ok"]["get"]["security"] == []
    assert "401" in found["paths"]["/threads"]["post"]["responses"]


# ------------------------------------------------------------------------------------- nothing broken starts


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"path": f"{GRAPHS}/guard.py"}, "colon and variable"),
        ({"path": "./missing.py:auth"}, "there is no file"),
        ({"path": f"{GRAPHS}/guard.py:nothing"}, 'has no variable "nothing"; it has auth, blocking'),
        ({"path": f"{GRAPHS}/guard.py:ODD"}, "it is a dict; name an Auth object"),
        ({"path": f"{GRAPHS}/guard.py:handlers_only"}, "has no authenticate"),
        ({"path": f"{GRAPHS}/guard.py:odd_parameter"}, 'asks for "token"'),
        ({"pth": "x"}, '"auth.pth" is unknown'),
        ({"disable_studio_auth": True}, "protects nothing"),
        ([], '"auth" must be an object'),
        ({"path": f"{GRAPHS}/guard.py:auth", "unmatched": "yes"}, 'must be "owner" or "allow"'),
    ],
)
def test_a_server_with_broken_authentication_does_not_start(tmp_path: Path, auth: Any, said: str) -> None:
    config = variant(tmp_path, auth)
    command = [
        sys.executable,
        "-m",
        "server",
        "serve",
        "--config",
        str(config),
        "--port",
        "0",
        "--allow-outside",
    ]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (2, 3)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
