"""The user's application and authentication: who is asked first, and whose routes are open."""

from pathlib import Path
from typing import Any

import pytest
import wire
from fix_server import RunningServer, Server
from fix_web import project

WEBAPP = """
from fastapi import FastAPI, Request

app = FastAPI()


def name(request):
    user = request.scope.get("user")
    return user.identity if user is not None else "nobody"


@app.middleware("http")
async def look(request: Request, call_next):
    seen = name(request)
    response = await call_next(request)
    response.headers["x-seen"] = seen
    return response


@app.get("/mine")
async def mine(request: Request):
    return {"user": name(request)}


@app.get("/info")
async def info():
    return {"overridden": True}
"""
AUTH = """
from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None):
    if authorization != "Bearer alice":
        raise Auth.exceptions.HTTPException(status_code=401, detail="who are you?")
    return {"identity": "alice"}
"""


@pytest.fixture
def serve(start_server: RunningServer, tmp_path: Path) -> Any:
    def start(**http: Any) -> Server:
        config = project(
            tmp_path, {"app": "./webapp.py:app", **http}, WEBAPP, auth={"path": "./auth.py:auth"}
        )
        (tmp_path / "auth.py").write_text(AUTH)
        return start_server(config)

    return start


def ask(server: Server, path: str, token: str | None = None) -> wire.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return wire.request(server.port, "GET", path, headers=headers)


def test_the_users_middleware_comes_first_and_knows_nobody_yet(serve: Any) -> None:
    server = serve()
    refused, served = ask(server, "/threads/x"), ask(server, "/openapi.json", "alice")
    assert (refused.status, refused.header("x-seen")) == (401, "nobody")
    assert (served.status, served.header("x-seen")) == (200, "nobody")


def test_the_users_middleware_may_come_after_and_then_knows_who_asks(serve: Any) -> None:
    server = serve(middleware_order="auth_first")
    refused, served = ask(server, "/threads/x"), ask(server, "/openapi.json", "alice")
    assert (refused.status, refused.header("x-seen")) == (401, None)
    assert (served.status, served.header("x-seen")) == (200, "alice")


def test_the_users_routes_are_open_and_ours_are_not(serve: Any) -> None:
    server = serve()
    assert ask(server, "/mine").json() == {"user": "nobody"}
    assert ask(server, "/info").json() == {"overridden": True}
    for path in ("/openapi.json", "/mine/", "/mine%2f..%2fthreads", "//mine"):
        assert ask(server, path).status == 401


@pytest.mark.parametrize("order", ["middleware_first", "auth_first"])
def test_the_users_routes_can_be_guarded_like_ours(serve: Any, order: str) -> None:
    server = serve(enable_custom_route_auth=True, middleware_order=order)
    for path in ("/mine", "/info"):
        assert ask(server, path).status == 401
    assert ask(server, "/mine", "alice").json() == {"user": "alice"}
    assert ask(server, "/ok").status == 200
