"""Fails at once, in its second node, or in the middle of the model's answer."""

from typing import TypedDict

from langgraph.graph import START, StateGraph
from scripted import text


class State(TypedDict, total=False):
    how: str
    out: str


def ok(state: State):
    if state.get("how") == "first":
        raise ValueError("first node failed")
    return {"out": text("fine ", "so far")}


def bad(state: State):
    if state.get("how") == "plain":
        raise ValueError("plain failure: secret=hunter2")
    return {"out": text("a ", "b ", "c ", explodes_after=2)}


graph = StateGraph(State).add_sequence([ok, bad]).add_edge(START, "ok").compile()
