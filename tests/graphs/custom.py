"""A node that writes events of its own: an object, a text, a list, a number."""

from typing import TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    x: int


def node(state: State):
    write = get_stream_writer()
    for value in ({"progress": 0.5, "text": "line1\nline2"}, "plain string", [1, None, True], 7):
        write(value)
    return {"x": state.get("x", 0) + 1}


graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
