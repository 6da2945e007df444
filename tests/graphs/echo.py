"""Two nodes and no model: for breakpoints, queues and multitasking."""

import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[str], operator.add]


def a(state: State):
    return {"log": ["a"]}


def b(state: State):
    return {"log": ["b"]}


graph = StateGraph(State).add_sequence([a, b]).add_edge(START, "a").compile()
