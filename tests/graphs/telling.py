"""Nodes that tell of themselves by what programs use for that: `logging`, asynchronously and not."""

import logging
from typing import TypedDict

from langgraph.graph import START, StateGraph

log = logging.getLogger("shop")


class State(TypedDict, total=False):
    name: str
    fail: str


async def ask(state: State):
    log.warning("asked for %s", state["name"])
    return {}


def count(state: State):
    log.warning("counted %s", state["name"])
    if "fail" in state:
        raise ValueError(state["fail"])
    return {}


inner = StateGraph(State).add_node(count).add_edge(START, "count").compile()
graph = StateGraph(State).add_node(ask).add_node("inside", inner).add_edge(START, "ask")
graph = graph.add_edge("ask", "inside").compile()
