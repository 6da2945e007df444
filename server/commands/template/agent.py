"""A chat that streams: one node, which asks a model."""

from langgraph.graph import START, MessagesState, StateGraph

from offline_model import OfflineModel

# For a real model this line becomes: model = init_chat_model("openai:gpt-4o-mini"). See README.md.
model = OfflineModel()


def chat(state: MessagesState) -> dict[str, object]:
    # .invoke, not .stream: the tokens reach the client all the same.
    return {"messages": [model.invoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node(chat).add_edge(START, "chat").compile()
