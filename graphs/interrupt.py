"""A person decides: the graph stops with a draft and goes on when somebody has approved or refused it."""

from typing import Literal, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from graphs.models import chat_model


class State(TypedDict, total=False):
    topic: str
    joke: str
    approved: bool


model = chat_model()


def draft(state: State) -> State:
    return {"joke": model.invoke(f"Tell me a joke about {state['topic']}").text}


def approve(state: State) -> Command[Literal["draft", "__end__"]]:
    """Resume with true to publish the joke, or with false to get another draft."""
    approved = bool(interrupt({"question": "Publish this joke?", "joke": state["joke"]}))
    return Command(update={"approved": approved}, goto="__end__" if approved else "draft")


graph = (
    StateGraph(State)
    .add_node(draft)
    .add_node(approve)
    .add_edge(START, "draft")
    .add_edge("draft", "approve")
    .compile()
)
