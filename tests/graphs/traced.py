"""A graph whose code makes spans of its own, with nodes of every kind: alone, side by side, inside others."""

from typing import Annotated, TypedDict

from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from opentelemetry import trace

tracer = trace.get_tracer("shop")


class State(TypedDict, total=False):
    fail: bool
    ask: bool
    out: Annotated[list, lambda left, right: left + right]


async def first(state: State):
    with tracer.start_as_current_span("own first"):
        return {"out": ["first"]}


def left(state: State):
    with tracer.start_as_current_span("own left"):
        return {"out": ["left"]}


async def right(state: State):
    with tracer.start_as_current_span("own right"):
        return {"out": ["right"]}


def within(state: State):
    with tracer.start_as_current_span("own within"):
        if state.get("fail"):
            raise ValueError("it fails")
        return {"out": ["within"]}


def last(state: State):
    if state.get("ask"):
        interrupt("more?")
    with tracer.start_as_current_span("own call"):
        called.invoke({"out": []})
    return {"out": ["last"]}


def again(state: State):
    return {"out": ["again"]}


called = StateGraph(State).add_node(again).add_edge(START, "again").compile()


inner = StateGraph(State).add_node(within).add_edge(START, "within").compile()
outer = StateGraph(State).add_sequence([first]).add_node(left).add_node(right)
outer = outer.add_node("inside", inner).add_node(last).add_edge(START, "first")
outer = outer.add_edge("first", "left").add_edge("first", "right").add_edge(["left", "right"], "inside")
graph = outer.add_edge("inside", "last").compile()


@task
async def step(number: int) -> int:
    with tracer.start_as_current_span("own step"):
        return number + 1


@entrypoint()
async def functional(number: int) -> int:
    return await step(number)
