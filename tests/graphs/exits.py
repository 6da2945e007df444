"""Nodes that raise what should end a process."""

from typing import TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    what: str
    where: str


class Odd(BaseException):
    pass


RAISED = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "BaseException": lambda: BaseException("base"),
    "Odd": lambda: Odd("odd"),
}


def in_sync(state: State):
    raise RAISED[state["what"]]()


async def in_async(state: State):
    raise RAISED[state["what"]]()


builder = StateGraph(State).add_node(in_sync).add_node(in_async)
builder.add_conditional_edges(START, lambda state: state["where"], ["in_sync", "in_async"])
graph = builder.compile()
