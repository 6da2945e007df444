"""Chats whose model the test holds by a socket (gate.py): plain, and after a question to a person."""

from collections.abc import Awaitable, Callable
from typing import Any

from gate import GateModel
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


class State(MessagesState, total=False):
    port: int
    key: str


async def answer(state: State) -> dict[str, Any]:
    model = GateModel(port=state["port"], key=state["key"], write=get_stream_writer())
    return {"messages": [await model.ainvoke(state["messages"])]}


def speaker(name: str) -> Callable[[State], Awaitable[dict[str, Any]]]:
    """A node whose model calls in under the key and its own name."""

    async def speak(state: State) -> dict[str, Any]:
        model = GateModel(port=state["port"], key=f"{state['key']}-{name}", write=get_stream_writer())
        return {"messages": [await model.ainvoke("x")]}

    return speak


def confirm(state: State) -> dict[str, Any]:
    return {"messages": [("human", interrupt("which way?"))]}


async def ask(state: State) -> dict[str, Any]:
    said = interrupt("which way?")
    model = GateModel(port=state["port"], key=state["key"], write=get_stream_writer())
    spoken = await model.ainvoke("x")
    return {"messages": [("ai", f"{said}: {spoken.content}")]}


graph = StateGraph(State).add_node(answer).add_edge(START, "answer").compile()
asking = StateGraph(State).add_node(ask).add_edge(START, "ask").compile()
confirming = StateGraph(State).add_sequence([confirm, answer]).add_edge(START, "confirm").compile()
outer = StateGraph(State).add_node("inner", graph).add_edge(START, "inner").compile()
twice = (
    StateGraph(State).add_sequence([("first", answer), ("second", answer)]).add_edge(START, "first").compile()
)
builder = StateGraph(State).add_node("left", speaker("left")).add_node("right", speaker("right"))
parallel = builder.add_edge(START, "left").add_edge(START, "right").compile()
