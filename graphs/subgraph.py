"""A graph inside a graph: the comedian is a graph of its own, the critic a node of the parent."""

from typing import TypedDict

from langgraph.graph import START, StateGraph

from graphs.models import chat_model


class State(TypedDict, total=False):
    topic: str
    joke: str
    explanation: str


model = chat_model()


def write(state: State) -> State:
    return {"joke": model.invoke(f"Tell me a joke about {state['topic']}").text}


def criticise(state: State) -> State:
    return {"explanation": model.invoke(f"Explain in one sentence why this is funny: {state['joke']}").text}


comedian = StateGraph(State).add_node(write).add_edge(START, "write").compile()

graph = (
    StateGraph(State)
    .add_node("comedian", comedian)
    .add_node("critic", criticise)
    .add_edge(START, "comedian")
    .add_edge("comedian", "critic")
    .compile()
)
