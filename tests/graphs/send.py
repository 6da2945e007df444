"""Fan-out by Send, and a deferred node that joins."""

import operator
from typing import Annotated, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Send
from scripted import text


class State(TypedDict, total=False):
    items: list[str]
    outs: Annotated[list[str], operator.add]
    total: int


def plan(state: State):
    return {}


def work(one: dict[str, str]):
    return {"outs": [text(one["item"], "!")]}


def join(state: State):
    return {"total": len(state["outs"])}


builder = StateGraph(State).add_node(plan).add_node(work).add_node(join, defer=True)
builder.add_edge(START, "plan").add_edge("work", "join")
builder.add_conditional_edges(
    "plan", lambda state: [Send("work", {"item": i}) for i in state["items"]], ["work"]
)
graph = builder.compile()
