"""The same shape as agent.py, offline: dataclass state, one sync node, a model asked by `.invoke`."""

from dataclasses import dataclass

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langgraph.graph import START, StateGraph


@dataclass
class State:
    topic: str
    joke: str = ""


def call_model(state: State) -> dict[str, str]:
    model = GenericFakeChatModel(messages=iter([f"Why {state.topic}? Ha!"]))
    return {"joke": model.invoke(f"Generate a joke about {state.topic}").content}


graph = StateGraph(State).add_node(call_model).add_edge(START, "call_model").compile()
