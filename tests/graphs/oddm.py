"""Which messages are streamed: hidden calls, tags, content blocks, returned and repeated messages."""

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage
from langgraph.graph import START, MessagesState, StateGraph
from scripted import ScriptedChatModel, says


class State(MessagesState, total=False):
    x: str


def hidden(state: State):
    says("hidden ", "tok").with_config(tags=["nostream"]).invoke("x")
    says("langsmith-", "hidden").with_config(tags=["langsmith:hidden"]).invoke("x")
    says("tagged ", "tok").with_config(tags=["mytag"], metadata={"mymeta": 1}, run_name="myname").invoke("x")
    return {"x": "a"}


def blocks(state: State):
    script = [
        AIMessageChunk(content=[{"type": "text", "text": text, "index": 0}]) for text in ("blk ", "two")
    ]
    return {"messages": [ScriptedChatModel(script=script).invoke("x")]}


def returns(state: State):
    human, ai = HumanMessage("a human msg", id="h1"), AIMessage("ai one", id="a1", name="bob")
    return {"messages": [human, ai, RemoveMessage(id="h1")]}


def again(state: State):
    return {"messages": [AIMessage("ai one", id="a1"), AIMessage("no id")]}


nodes = [hidden, blocks, returns, again]
graph = StateGraph(State).add_sequence(nodes).add_edge(START, "hidden").compile()
