"""Nodes that ask a person: one, and two side by side."""

import operator
from typing import Annotated, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from scripted import text


class State(TypedDict, total=False):
    x: str
    log: Annotated[list[str], operator.add]


def start(state: State):
    return {"log": ["start:" + text("s", "t")]}


def ask(state: State):
    answer = interrupt({"question": "ok?", "x": state.get("x")})
    return {"log": [f"ask:{answer}"]}


def ask_a(state: State):
    return {"log": [f"a:{interrupt('qa')}"]}


def ask_b(state: State):
    return {"log": [f"b:{interrupt('qb')}"]}


def finish(state: State):
    return {"log": ["finish"]}


graph = StateGraph(State).add_sequence([start, ask, finish]).add_edge(START, "start").compile()
builder = StateGraph(State).add_node(ask_a).add_node(ask_b).add_node(finish)
builder.add_edge(START, "ask_a").add_edge(START, "ask_b").add_edge(["ask_a", "ask_b"], "finish")
parallel = builder.compile()
