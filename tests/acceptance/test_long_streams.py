"""Access over time: tokens that end, crons of before, secrets that are read, calls from within."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fix_auth import ALICE, BOB, GRAPHS, bearer, variant
from fix_engine import EMBEDDED
from fix_server import RunningServer, Server, eventually, start, stop
from jwt.algorithms import ECAlgorithm
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

RUN = {"assistant_id": "whoami", "input": {}}


class Signed:
    """A server that takes tokens of ours, to the second."""

    def __init__(self, start_server: RunningServer, folder: Path) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        key = json.loads(ECAlgorithm.to_jwk(self._private.public_key()))
        (folder / "keys.json").write_text(json.dumps({"keys": [{**key, "kid": "k"}]}))
        rules = {"issuer": "i", "audience": "a", "jwks_file": "keys.json", "algorithms": ["ES256"]}
        auth = {"jwt": {**rules, "leeway_seconds": 0}}
        self.server = start_server(variant(folder, auth), GRAPHWIRE_HEARTBEAT_SECONDS="0.1")

    def headers(self, seconds: float) -> dict[str, str]:
        claims = {"iss": "i", "aud": "a", "sub": "ann", "exp": int(time.time() + seconds)}
        return bearer(jwt.encode(claims, self._private, "ES256", {"kid": "k"}))


@pytest.fixture(scope="module")
def signed(start_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Signed:
    return Signed(start_server, tmp_path_factory.mktemp("signed"))


def test_a_stream_is_cut_off_when_its_token_ends_and_not_before(signed: Signed) -> None:
    server = signed.server
    lasting = signed.headers(600)
    thread = server.request("POST", "/threads", {}, headers=lasting).json()["thread_id"]
    stays = server.request("GET", f"/threads/{thread}/stream", headers=lasting)
    ends = server.request("GET", f"/threads/{thread}/stream", headers=(short := signed.headers(3)))
    assert ends.rest() == []
    assert ends.ended_by in ("cut", "reset")
    assert server.request("GET", f"/threads/{thread}/stream", headers=short).status == 401
    assert server.request("POST", f"/threads/{thread}/runs/wait", RUN, headers=lasting).status == 200
    assert stays.next("values").data


def test_a_socket_takes_no_command_once_its_token_has_ended(signed: Signed) -> None:
    server = signed.server
    thread = server.request("POST", "/threads", {}, headers=signed.headers(600)).json()["thread_id"]
    url = f"ws://127.0.0.1:{server.port}/threads/{thread}/stream/events"
    begin = {"id": 1, "method": "run.start", "params": {"assistant_id": "whoami", "input": {}}}
    with connect(url, additional_headers=signed.headers(2)) as socket:
        socket.send(json.dumps({"id": 1, "method": "agent.getTree"}))
        assert json.loads(socket.recv(10))["type"] == "success"
        ended = time.time() + 3
        assert eventually(lambda: time.time() > ended)
        socket.send(json.dumps(begin))
        with pytest.raises(ConnectionClosed):
            socket.recv(10)
    runs = server.request("GET", f"/threads/{thread}/runs", headers=signed.headers(600))
    assert runs.json() == []


# ------------------------------------------------------------------------------------------------- secrets


SETTINGS = {"openai_api_key": "s3cret-1", "dbPassword": "s3cret-2", "max_tokens": 5, "keywords": "kept"}


@pytest.fixture(scope="module")
def guarded(start_server: RunningServer) -> Server:
    return start_server(GRAPHS / "auth.json")


@pytest.mark.parametrize("mode", ["debug", "checkpoints", "values", "messages-tuple", "events"])
def test_secrets_in_settings_are_not_read_back(guarded: Server, mode: str) -> None:
    """Those of the user (`api_token`) neither. The graph has them: test_authentication."""
    thread = guarded.request("POST", "/threads", {}, headers=ALICE).json()["thread_id"]
    run = {"assistant_id": "echo", "input": {}, "stream_mode": mode, "config": {"configurable": SETTINGS}}
    stream = guarded.request("POST", f"/threads/{thread}/runs/stream", run, headers=ALICE)
    said = [json.dumps(frame.data) for frame in stream.rest()]
    for path in ("runs", "state", "history?limit=10"):
        said.append(guarded.request("GET", f"/threads/{thread}/{path}", headers=ALICE).body().decode())
    assert "s3cret" not in "".join(said)
    shown = guarded.request("GET", f"/threads/{thread}/runs", headers=ALICE).json()[0]["kwargs"]
    inner = shown["config"]["configurable"]
    assert (inner["max_tokens"], inner["keywords"], inner["openai_api_key"]) == (5, "kept", "***")
    assert inner["langgraph_auth_user"]["api_token"] == "***"
    assert inner["langgraph_auth_user"]["email"] == "alice@example.com"


# -------------------------------------------------------------------------------------------- from within


def test_calls_from_within_need_no_token_and_are_nobodys(guarded: Server) -> None:
    run = {"assistant_id": "within", "input": {}}
    told = guarded.request("POST", "/runs/wait", run, headers=ALICE).json()["told"]
    assert told["found"] == 1
    for user in (ALICE, BOB):
        assert guarded.request("GET", f"/threads/{told['thread_id']}", headers=user).status == 404


# -------------------------------------------------------------------------------------------- from before


@pytest.mark.embedded
def test_what_was_made_before_there_was_authentication_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    open_to_all = start(tmp_path, variant(tmp_path / "before", None), engine=EMBEDDED)
    thread = open_to_all.new_thread()
    cron = {"assistant_id": "echo", "schedule": "* * * * * *", "input": {}}
    open_to_all.post(f"/threads/{thread}/runs/crons", cron)
    stop(open_to_all)
    auth = {"path": f"{GRAPHS}/owners.py:plain"}
    server = start(tmp_path, variant(tmp_path / "after", auth), engine=EMBEDDED)
    try:
        assert eventually(lambda: "a cron could not run" in server.log)
        assert server.request("GET", f"/threads/{thread}", headers=ALICE).status == 404
        found: Any = server.request("POST", "/threads/search", {}, headers=ALICE).json()
        assert found == []
        assert server.request("GET", "/assistants/echo", headers=ALICE).status == 200
    finally:
        stop(server)
