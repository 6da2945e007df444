"""An edge that does what the state tells it: updates of the state run it too. And a list kept as changes."""

import operator
from typing import Annotated, TypedDict

from gate import GateModel
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    how: str
    port: int
    key: str


def work(state: State):
    return {"log": ["work"]}


def route(state: State):
    match state.get("how"):
        case "wait":
            GateModel(port=state["port"], key=state["key"]).invoke("x")
        case "fail":
            raise ValueError("no way from here")
        case "exit":
            raise SystemExit(3)
    return END


def extend(value: list[str], writes: list[list[str]]) -> list[str]:
    return [*value, *(item for write in writes for item in write)]


class Changes(TypedDict, total=False):
    log: Annotated[list[str], DeltaChannel(extend)]


builder = StateGraph(State).add_node(work).add_edge(START, "work").add_conditional_edges("work", route, [END])
graph = builder.compile()
delta = (
    StateGraph(Changes).add_node("work", lambda state: {"log": ["work"]}).add_edge(START, "work").compile()
)
