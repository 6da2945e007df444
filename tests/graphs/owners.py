"""Authentication that takes every word for a user, and handlers that tell what they were asked."""

import asyncio
import json
import os
from typing import Any

from langgraph_sdk import Auth


def word(authorization: str | None) -> Any:
    name = (authorization or "").removeprefix("Bearer ")
    if not name.isalpha():
        raise Auth.exceptions.HTTPException(401, "no token")
    return {"identity": name}


# No handlers: everybody has what he made.
plain = Auth()


@plain.authenticate
async def authenticate_plain(authorization: str | None) -> Any:
    return word(authorization)


# The handler of LangGraph's own examples.
stamping = Auth()


@stamping.authenticate
async def authenticate_stamping(authorization: str | None) -> Any:
    return word(authorization)


@stamping.on
async def add_owner(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Any:
    filters = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(filters)
    return filters


@stamping.on.store
async def own_namespace(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    namespace = tuple(value["namespace"] or ())
    if not namespace or namespace[0] != ctx.user.identity:
        namespace = (ctx.user.identity, *namespace)
    value["namespace"] = namespace


# Writes down what it is asked, and does as the user is called.
telling = Auth()


@telling.authenticate
async def authenticate_telling(authorization: str | None) -> Any:
    return word(authorization)


def plainly(value: Any) -> Any:
    return f"{type(value).__name__}" if type(value).__name__ == "UUID" else str(value)


def note(line: str) -> None:
    with open(os.environ["TOLD"], "a") as file:
        file.write(line + "\n")


@telling.on
async def tell(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Any:
    keys = sorted(value)
    ids = {key: type(value[key]).__name__ for key in keys if key.endswith("_id")}
    line = {"what": f"{ctx.resource}.{ctx.action}", "keys": keys, "ids": ids, "who": ctx.user.identity}
    await asyncio.to_thread(note, json.dumps(line))
    return ANSWERS.get(ctx.user.identity)


ANSWERS: dict[str, Any] = {
    "deny": False,
    "weird": "yes",
    "badop": {"owner": {"$regex": ".*"}},
    "badkey": {"$nor": [{"a": 1}]},
    "emptyop": {"owner": {}},
    "either": {"$or": [{"color": "red"}, {"tags": {"$contains": "x"}}]},
    "both": {"$and": [{"color": "red"}, {"tags": {"$contains": ["x", "y"]}}]},
    "equal": {"color": {"$eq": "red"}},
    "number": {"size": 1},
    "truth": {"size": True},
    "null": {"color": None},
    "nothing": {},
}


@telling.on.threads.delete
async def refuse(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Any:
    if ctx.user.identity == "http":
        raise Auth.exceptions.HTTPException(409, "handler says 409", {"X-Why": "so"})
    if ctx.user.identity == "value":
        raise ValueError("handler blew up")
    if ctx.user.identity == "boom":
        raise RuntimeError("a secret")
    return await tell(ctx=ctx, value=value)
