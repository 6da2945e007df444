"""A subgraph whose name tries to end its line: event names of subgraphs carry it."""

from typing import TypedDict

from langgraph.graph import START, StateGraph

NAME = "child\r\n\r\ndata\r\n\r\nforged\u2028\x85"


class State(TypedDict, total=False):
    x: int


def inside(state: State):
    return {"x": 2}


child = StateGraph(State).add_node(inside).add_edge(START, "inside").compile()
graph = StateGraph(State).add_node(NAME, child).add_edge(START, NAME).compile()
