"""`http.app`: the user's own routes, middleware and lifespan in the real server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wire
from fix_fork import REPO
from fix_gate import Gate
from fix_server import RunningServer, Server, eventually, stop
from fix_web import project
from websockets.sync.client import connect

WEBAPP = """
import os
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from langgraph_sdk import get_client
from pydantic import BaseModel

MARKS = Path(os.environ["MARKS"])


@asynccontextmanager
async def lifespan(app):
    found = await get_client().assistants.search(limit=100)
    app.state.graphs = sorted(one["graph_id"] for one in found)
    (MARKS / "started").write_text("")
    yield {"yielded": "by the lifespan"}
    (MARKS / "stopped").write_text("")


app = FastAPI(title="Mine", version="9", lifespan=lifespan)


class Odd(Exception):
    pass


class ThreadView(BaseModel):  # we have one too
    only: str = "mine"


@app.exception_handler(Odd)
async def odd(request: Request, error: Odd):
    return JSONResponse({"odd": str(error)}, 409)


@app.middleware("http")
async def mark(request: Request, call_next):
    response = await call_next(request)
    graphs = getattr(request.app.state, "graphs", [])  # none while the lifespan itself asks
    response.headers["x-mine"] = f"{len(graphs)} {getattr(request.state, 'yielded', '')}"
    return response


@app.get("/mine/{name}")
async def mine(name: str, request: Request) -> ThreadView:
    if name == "odd":
        raise Odd(name)
    if name == "broken":
        raise RuntimeError("a defect of the user's")
    return ThreadView(only=request.state.yielded + " " + name)


@app.get("/info")
async def info():
    return {"overridden": True}


@app.get("/ok")
async def never():
    return {"never": True}


@app.get("/runs/wait")
async def method_mismatch():
    return {"get": True}


@app.post("/through")
async def through(request: Request):
    asked = await request.json()

    async def tokens():
        async for part in get_client().runs.stream(
            None, "gate", input=asked, stream_mode="messages-tuple"
        ):
            if part.event == "messages":
                yield part.data[0]["content"]

    return StreamingResponse(tokens(), media_type="text/plain")


@app.websocket("/mine/socket")
async def socket(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text("mine")
    await websocket.close()
"""


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def web(start_server: RunningServer, marks: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    config = project(tmp_path_factory.mktemp("web"), {"app": "./webapp.py:app"}, WEBAPP)
    return start_server(config, MARKS=str(marks))


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> wire.Response:
    """Ask what is in no OpenAPI document of ours."""
    return wire.request(server.port, method, path, body, headers=headers)


def test_a_route_of_the_user_is_served_with_what_his_lifespan_yields(web: Server) -> None:
    answer = ask(web, "GET", "/mine/x")
    assert (answer.status, answer.json()) == (200, {"only": "by the lifespan x"})


def test_a_route_of_the_user_may_take_the_place_of_one_of_ours(web: Server) -> None:
    assert ask(web, "GET", "/info").json() == {"overridden": True}


@pytest.mark.parametrize(
    ("path", "ours"),
    [("/ok", b'"services"'), ("/docs", b"<h1>Graphwire API"), ("/openapi.json", b"RunCreate")],
)
def test_what_probes_and_readers_look_for_stays_ours(web: Server, path: str, ours: bytes) -> None:
    assert ours in ask(web, "GET", path).body()


def test_a_method_that_the_user_has_no_route_for_is_left_to_ours(web: Server) -> None:
    assert ask(web, "GET", "/runs/wait").json() == {"get": True}
    assert web.wait("echo", {"x": 1}, thread=None)["x"] == 1


def test_the_users_middleware_is_around_our_routes_too(web: Server) -> None:
    for path in ("/ok", "/mine/x", "/assistants/nobody"):
        assert ask(web, "GET", path).header("x-mine") == "4 by the lifespan"


def test_the_users_exception_handlers_serve_his_routes(web: Server) -> None:
    answer = ask(web, "GET", "/mine/odd")
    assert (answer.status, answer.json()) == (409, {"odd": "odd"})


def test_a_defect_of_the_user_is_answered_and_logged(web: Server) -> None:
    assert ask(web, "GET", "/mine/broken").status == 500
    assert eventually(lambda: "a defect of the user's" in web.log)
    assert ask(web, "GET", "/mine/x").status == 200


def test_a_websocket_of_the_user_is_served(web: Server) -> None:
    with connect(f"ws://127.0.0.1:{web.port}/mine/socket") as socket:
        assert socket.recv(timeout=10) == "mine"


def test_tokens_pass_through_the_users_middleware_while_the_model_is_still_speaking(
    web: Server, gate: Gate
) -> None:
    asked = gate.input()
    stream = web.stream("gate", asked, thread=None, stream_mode="messages-tuple")
    node = gate.node(asked)
    for word in ("one", "two", "three"):
        node.say(word)
        assert stream.next("messages").data[0]["content"] == word
    node.finish()
    stream.rest()
    assert stream.ended_by == "last chunk"


def test_a_client_that_leaves_is_noticed_through_the_users_middleware(web: Server, gate: Gate) -> None:
    asked = gate.input()
    stream = web.stream("gate", asked, thread=None, stream_mode="messages-tuple", on_disconnect="cancel")
    node = gate.node(asked)
    node.say("one")
    stream.next("messages")
    stream.reset()
    assert node.hear() == "cancelled"


def test_a_route_of_the_user_streams_a_run_of_this_server(web: Server, gate: Gate) -> None:
    asked = gate.input()
    answer = ask(web, "POST", "/through", asked)
    node = gate.node(asked)
    chunks = answer.chunks()
    for word in (b"one", b"two"):
        node.say(word.decode())
        assert next(chunks) == word
    node.finish()
    assert list(chunks) == []


def test_the_openapi_document_is_of_both(web: Server) -> None:
    found = ask(web, "GET", "/openapi.json").json()
    assert (found["info"]["title"], found["info"]["version"]) == ("Mine", "9")
    assert {"/mine/{name}", "/threads/{thread_id}/runs/stream"} <= set(found["paths"])
    assert "never" not in json.dumps(found["paths"]["/ok"])
    answer = found["paths"]["/mine/{name}"]["get"]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
    assert list(found["components"]["schemas"][schema]["properties"]) == ["only"]
    assert "thread_id" in found["components"]["schemas"]["ThreadView"]["properties"]


def test_the_lifespan_ends_with_the_server(start_server: RunningServer, tmp_path: Path) -> None:
    server = start_server(project(tmp_path, {"app": "./webapp.py:app"}, WEBAPP), MARKS=str(tmp_path))
    assert (tmp_path / "started").exists()
    assert not (tmp_path / "stopped").exists()
    stop(server)
    assert (tmp_path / "stopped").exists()


def test_a_plain_starlette_will_do(start_server: RunningServer, tmp_path: Path) -> None:
    source = (
        "from starlette.applications import Starlette\n"
        "from starlette.responses import PlainTextResponse\n"
        "from starlette.routing import Route\n"
        "async def mine(request): return PlainTextResponse('mine')\n"
        "app = Starlette(routes=[Route('/mine', mine)])\n"
    )
    server = start_server(project(tmp_path, {"app": "./webapp.py:app"}, source))
    assert ask(server, "GET", "/mine").body() == b"mine"
    assert server.wait("echo", {"x": 1})["x"] == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("app = 1", "name a Starlette or a FastAPI"),
        ("raise ValueError('no key')", "ValueError: no key (webapp.py, line 1)"),
        ("", 'has no variable "app"'),
        (
            "from fastapi import FastAPI\n"
            "from contextlib import asynccontextmanager\n"
            "@asynccontextmanager\n"
            "async def lifespan(app):\n"
            "    raise RuntimeError('the database is away')\n"
            "    yield\n"
            "app = FastAPI(lifespan=lifespan)\n",
            'The lifespan of "http.app" (./webapp.py:app) failed: RuntimeError: the database is away',
        ),
    ],
    ids=["no app", "raises", "no variable", "lifespan"],
)
def test_an_application_that_cannot_be_used_stops_the_start_with_a_clear_message(
    tmp_path: Path, source: str, said: str
) -> None:
    config = project(tmp_path, {"app": "./webapp.py:app"}, source)
    command = [sys.executable, "-m", "server", "serve", "--config", str(config), "--port", "0"]
    ended = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, said in ended.stderr) == (3, True), ended.stderr
    assert "Traceback" not in ended.stderr
