"""Three levels; the innermost writes a custom event, streams tokens and interrupts twice."""

from typing import TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from scripted import text


class State(TypedDict, total=False):
    t: str
    a: str
    b: str


def leaf(state: State):
    get_stream_writer()({"from": "leaf"})
    return {"t": text("deep ", "tok")}


def ask(state: State):
    return {"a": interrupt("first question"), "b": interrupt("second question")}


def level(name: str, inner):
    return StateGraph(State).add_node(name, inner).add_edge(START, name).compile()


grand = StateGraph(State).add_sequence([leaf, ask]).add_edge(START, "leaf").compile()
graph = level("child", level("grand", grand))
