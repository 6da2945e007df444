"""A parent whose middle node is a graph of its own, with a state key that the parent does not have."""

from typing import TypedDict

from langgraph.graph import START, StateGraph
from scripted import text


class Child(TypedDict, total=False):
    topic: str
    note: str
    text: str


class Parent(TypedDict, total=False):
    topic: str
    text: str
    done: bool


def think(state: Child):
    return {"note": f"thinking about {state['topic']}"}


def write(state: Child):
    return {"text": text("sub ", "tok", prompt="write")}


def before(state: Parent):
    return {"text": text("par ", "ent", prompt="before")}


def after(state: Parent):
    return {"done": True}


child = StateGraph(Child).add_sequence([think, write]).add_edge(START, "think").compile()
steps = [before, ("child", child), after]
graph = StateGraph(Parent).add_sequence(steps).add_edge(START, "before").compile()
