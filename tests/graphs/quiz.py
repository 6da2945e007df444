"""Asks a person one question after another and keeps the answers."""

import operator
from typing import Annotated, Literal, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt


class State(TypedDict, total=False):
    questions: int
    answers: Annotated[list[str], operator.add]


def ask(state: State) -> Command[Literal["ask", "__end__"]]:
    number = len(state.get("answers", []))
    answer = interrupt({"question": number})
    last = number + 1 >= state["questions"]
    return Command(update={"answers": [answer]}, goto="__end__" if last else "ask")


graph = StateGraph(State).add_node(ask).add_edge(START, "ask").compile()
