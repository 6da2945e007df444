"""Nodes that the test holds by a socket (fix_gate.py): they call in, wait for orders and obey."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypedDict

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    port: int
    key: str
    stubborn: bool
    out: str
    done: bool


class GateModel(BaseChatModel):
    """A model that says a token when the test says so."""

    port: int
    key: str
    write: Any = None

    @property
    def _llm_type(self) -> str:
        return "gate"

    def _obey(self, line: str | bytes) -> ChatGenerationChunk | None:
        order = json.loads(line) if line else {"end": True}
        if "fail" in order:
            raise ValueError(order["fail"])
        if "custom" in order:
            self.write(order["custom"])
        return None if "end" in order else ChatGenerationChunk(message=AIMessageChunk(order.get("token", "")))

    def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        with socket.create_connection(("127.0.0.1", self.port)) as call, call.makefile("rw") as lines:
            print(self.key, file=lines, flush=True)
            while (chunk := self._obey(lines.readline())) is not None:
                if chunk.text:
                    yield chunk

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"{self.key}\n".encode())
        try:
            while (chunk := self._obey(await reader.readline())) is not None:
                if chunk.text:
                    yield chunk
        except asyncio.CancelledError:
            writer.write(b"cancelled\n")
            raise
        finally:
            writer.close()

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return _whole(list(self._stream(messages)))

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return _whole([chunk async for chunk in self._astream(messages)])


def _whole(chunks: list[ChatGenerationChunk]) -> ChatResult:
    text = "".join(chunk.text for chunk in chunks)
    return ChatResult(generations=[ChatGeneration(message=AIMessageChunk(text))])


async def speak(state: State):
    model = GateModel(port=state["port"], key=state["key"], write=get_stream_writer())
    try:
        return {"out": (await model.ainvoke("x")).content}
    except asyncio.CancelledError:
        if not state.get("stubborn"):
            raise
        return {"out": (await model.ainvoke("x")).content}


def speak_sync(state: State):
    model = GateModel(port=state["port"], key=state["key"], write=get_stream_writer())
    return {"out": model.invoke("x").content}


def after(state: State):
    return {"done": True}


async def block(state: State):
    """Holds its event loop until the test lets go, as a forgotten `requests.get` would, and says so."""
    with socket.create_connection(("127.0.0.1", state["port"])) as call, call.makefile("rw") as lines:
        print(state["key"], file=lines, flush=True)
        lines.readline()  # that is the mistake
        print("woke", file=lines, flush=True)
    return {"done": True}


graph = StateGraph(State).add_sequence([speak, after]).add_edge(START, "speak").compile()
alone = StateGraph(State).add_node(speak).add_edge(START, "speak").compile()
sync = StateGraph(State).add_sequence([speak_sync, after]).add_edge(START, "speak_sync").compile()
blocking = StateGraph(State).add_node(block).add_edge(START, "block").compile()
