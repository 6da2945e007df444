"""Authentication by bearer tokens that say what shall happen: `alice` is a user, the others are odd."""

import threading
from typing import Any

from langgraph_sdk import Auth
from starlette.authentication import AuthenticationError
from starlette.exceptions import HTTPException

auth = Auth()
calls: list[str] = []


class Person:
    """A user who is no dict."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.team = "blue"

    def greets(self) -> str:
        return f"hello from {self.identity}"


ODD: dict[str, Any] = {
    "none": None,
    "noid": {"name": "x"},
    "empty": "",
    "number": {"identity": 7},
    "out": {"identity": "x", "is_authenticated": False},
    "words": {"identity": "x", "permissions": "all"},
}
RAISED: dict[str, BaseException] = {
    "default": Auth.exceptions.HTTPException(),
    "h403": Auth.exceptions.HTTPException(403, "custom forbidden", {"X-Why": "because"}),
    "data": Auth.exceptions.HTTPException(402, {"pay": 1}),  # type: ignore[arg-type]
    "starlette": HTTPException(410, "gone"),
    "autherror": AuthenticationError("not you"),
    "assert": AssertionError("secret reason"),
    "boom": RuntimeError("secret detail"),
    "exit": SystemExit(3),
    "teapot200": HTTPException(200, "come in"),
}


def user_of(token: str) -> Any:
    if token in RAISED:
        raise RAISED[token]
    if token in ODD:
        return ODD[token]
    if token == "object":
        return Person("objective")
    if token == "tuple":
        return (["a", "b"], {"identity": "tupled"})
    if token == "word":
        return "worded"
    if token.isalpha():
        secrets = {"api_token": "s3cret-of-" + token, "email": f"{token}@example.com"}
        return {"identity": token, "permissions": ["read"], **secrets}
    return None


@auth.authenticate
async def authenticate(authorization: str | None, path: str, method: str, headers: dict[bytes, bytes]) -> Any:
    assert isinstance(headers, dict)
    calls.append(f"{method} {path}")
    if not authorization:
        raise Auth.exceptions.HTTPException(401, "no token", {"WWW-Authenticate": "Bearer"})
    return user_of(authorization.removeprefix("Bearer "))


blocking = Auth()
_first = threading.Event()


@blocking.authenticate
def authenticate_blocking(headers: dict[bytes, bytes], query_params: dict[str, str]) -> str:
    """Synchronous: `slow` waits until somebody else has come in."""
    token = query_params.get("token", headers.get(b"authorization", b"").decode())
    if token == "slow":
        assert _first.wait(5)
    elif token == "quick":
        _first.set()
    return token


reading = Auth()


@reading.authenticate
async def authenticate_reading(request: Any) -> str:
    """Reads the body."""
    found = await request.json()
    return str(found["metadata"]["who"])


handlers_only = Auth()


@handlers_only.on
async def deny(ctx: Any, value: Any) -> bool:
    return False


odd_parameter = Auth()


@odd_parameter.authenticate
async def authenticate_odd(token: str) -> str:
    return token
