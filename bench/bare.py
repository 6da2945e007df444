"""The bare stream: a Starlette + sse-starlette app that does nothing but pass the graph's tokens on.

It answers the few paths the scenarios use, keeps nothing, and yields one SSE event a token.
"""

import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import orjson
import uvicorn
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import graphs
from .processes import HOST


async def events(graph: Any, given: dict[str, Any]) -> AsyncIterator[dict[str, str]]:
    async for chunk, metadata in graph.astream(given, stream_mode="messages"):
        yield {"event": "messages", "data": orjson.dumps([chunk.model_dump(), metadata]).decode()}


async def stream(request: Request) -> Response:
    body = orjson.loads(await request.body())
    return EventSourceResponse(events(getattr(graphs, body["assistant_id"]), body["input"]))


async def wait(request: Request) -> Response:
    body = orjson.loads(await request.body())
    values = await getattr(graphs, body["assistant_id"]).ainvoke(body["input"])
    return Response(orjson.dumps(values), media_type="application/json")


async def thread(request: Request) -> Response:
    return Response(orjson.dumps({"thread_id": str(uuid4())}), media_type="application/json")


async def ok(request: Request) -> Response:
    return Response(b'{"ok":true}', media_type="application/json")


app = Starlette(
    routes=[
        Route("/ok", ok),
        Route("/threads", thread, methods=["POST"]),
        Route("/threads/{thread_id}/runs/stream", stream, methods=["POST"]),
        Route("/threads/{thread_id}/runs/wait", wait, methods=["POST"]),
        Route("/runs/wait", wait, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(
        app,
        host=HOST,
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="warning",
    )
