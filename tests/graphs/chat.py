"""Message state: one node streams, one returns ready-made messages, as an object and as a plain dict."""

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from scripted import says


def bot(state: MessagesState):
    return {"messages": [says("Hello ", "you", usage=True).invoke(state["messages"])]}


def canned(state: MessagesState):
    ready = AIMessage("canned reply", id="canned-1")
    return {"messages": [ready, {"role": "assistant", "content": "dict reply"}]}


graph = StateGraph(MessagesState).add_sequence([bot, canned]).add_edge(START, "bot").compile()
