"""Two models that speak at once, in one graph; and a node that returns its message whole."""

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from scripted import says


async def left(state: MessagesState):
    return {"messages": [await says("l1", "l2", "l3", "l4", pause=0.01).ainvoke("x")]}


async def right(state: MessagesState):
    return {"messages": [await says("r1", "r2", "r3", "r4", pause=0.01).ainvoke("x")]}


async def twice(state: MessagesState):
    """Both in one node."""
    model = says("same ", "words", pause=0.01)
    return {"messages": await model.abatch(["x", "y"])}


def whole(state: MessagesState):
    return {"messages": [AIMessage("all at once", id="whole-1")]}


builder = StateGraph(MessagesState).add_node(left).add_node(right).add_node(twice).add_node(whole)
builder.add_edge(START, "left").add_edge(START, "right").add_edge(["left", "right"], "twice")
graph = builder.add_edge("twice", "whole").compile()
