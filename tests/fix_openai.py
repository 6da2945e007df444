"""An OpenAI-compatible model on loopback that says one word at a time, when the test lets it."""

import json
import queue
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

WAIT_SECONDS = 30.0
END = object()


class Conversation:
    """What the model says to prompts that hold a certain topic. It waits for each word."""

    def __init__(self) -> None:
        self._words: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def say(self, word: str) -> None:
        self._words.put(word)

    def finish(self) -> None:
        self._words.put(END)

    def asked(self) -> dict[str, Any]:
        """The body of the next request that the model got."""
        return self._asked.get(timeout=WAIT_SECONDS)

    # the model's side
    def ask(self, body: dict[str, Any]) -> None:
        self._asked.put(body)

    async def words(self) -> AsyncIterator[str]:
        while (word := await to_thread.run_sync(lambda: self._words.get(timeout=WAIT_SECONDS))) is not END:
            yield word


class OpenAIStub:
    def __init__(self) -> None:
        self._conversations: dict[str, Conversation] = defaultdict(Conversation)
        app = Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])
        self._server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
        self._socket = self._server.config.bind_socket()
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def about(self, topic: str) -> Conversation:
        return self._conversations[topic]

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        prompt = json.dumps(body["messages"])
        topic = next((topic for topic in list(self._conversations) if topic in prompt), None)
        if topic is None:
            return JSONResponse({"error": {"message": f"nobody talks about {prompt}"}}, status_code=400)
        conversation = self._conversations[topic]
        conversation.ask(body)
        if body.get("stream"):
            return StreamingResponse(_stream(conversation, body["model"]), media_type="text/event-stream")
        text = "".join([word async for word in conversation.words()])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return JSONResponse(_completion(body["model"], "chat.completion", choice))

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)


async def _stream(conversation: Conversation, model: str) -> AsyncIterator[bytes]:
    name = f"chatcmpl-{uuid4().hex}"

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        body = _completion(model, "chat.completion.chunk", choice) | {"id": name}
        return b"data: " + json.dumps(body).encode() + b"\n\n"

    yield chunk({"role": "assistant", "content": ""})
    async for word in conversation.words():
        yield chunk({"content": word})
    yield chunk({}, finish="stop")
    yield b"data: [DONE]\n\n"


def _completion(model: str, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    name, created = f"chatcmpl-{uuid4().hex}", int(time.time())
    return {"id": name, "object": kind, "created": created, "model": model, "choices": [choice]}


@pytest.fixture(scope="session")
def openai() -> Iterator[OpenAIStub]:
    stub = OpenAIStub()
    yield stub
    stub.stop()


@pytest.fixture(scope="session")
def openai_environment(openai: OpenAIStub) -> dict[str, str]:
    """What a user sets to let OpenAI's client talk to another server."""
    return {"OPENAI_BASE_URL": openai.url, "OPENAI_API_KEY": "dummy"}


@pytest.fixture
def topic() -> str:
    """A topic nobody else asks about."""
    return f"ice cream {uuid4().hex[:8]}"


@pytest.fixture
def model(openai: OpenAIStub, topic: str) -> Conversation:
    """What the model says about this test's topic."""
    return openai.about(topic)
