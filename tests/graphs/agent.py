"""The graph of the mission: a joke about a topic, told by OpenAI's model through `.invoke`."""

from dataclasses import dataclass

from langchain.chat_models import init_chat_model
from langgraph.graph import START, StateGraph


@dataclass
class State:
    topic: str
    joke: str = ""


def call_model(state: State) -> dict[str, str]:
    model = init_chat_model(model="openai:gpt-4o-mini")
    answer = model.invoke([{"role": "user", "content": f"Generate a joke about {state.topic}"}])
    return {"joke": answer.content}


graph = StateGraph(State).add_node(call_model).add_edge(START, "call_model").compile()
