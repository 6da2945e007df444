"""The joke graph: one node asks the model for a joke. The smallest graph whose tokens are worth streaming."""

from dataclasses import dataclass

from langgraph.graph import START, StateGraph

from graphs.models import chat_model


@dataclass
class State:
    topic: str
    joke: str = ""


model = chat_model()


def call_model(state: State) -> dict[str, object]:
    # .invoke, not .stream: the tokens reach the client all the same.
    answer = model.invoke([{"role": "user", "content": f"Tell me a joke about {state.topic}"}])
    return {"joke": answer.content}


graph = StateGraph(State).add_node(call_model).add_edge(START, "call_model").compile()
