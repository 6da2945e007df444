"""A model that calls a tool; the tool asks a model itself, or just answers."""

from langchain_core.messages import AIMessageChunk
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from scripted import ScriptedChatModel, says, text


@tool
def research(q: str) -> str:
    """Look something up, with a model."""
    return text("inner ", "answer", prompt=f"q: {q}")


@tool("research")
def look_up(q: str) -> str:
    """Look something up, without a model."""
    return f"about {q}"


def piece(name: str | None, args: str, call_id: str | None) -> AIMessageChunk:
    call = {"name": name, "args": args, "id": call_id, "index": 0, "type": "tool_call_chunk"}
    return AIMessageChunk(content="", tool_call_chunks=[call])


def model(state: MessagesState):
    if state["messages"][-1].type == "tool":
        llm = says("Done: ", "ok", usage=True)
    else:
        script = [piece("research", "", "call_1"), piece(None, '{"q": ', None), piece(None, '"ice"}', None)]
        llm = ScriptedChatModel(script=script)
    return {"messages": [llm.bind_tools([research]).invoke(state["messages"])]}


def agent(called: BaseTool):
    builder = StateGraph(MessagesState).add_node(model).add_node("tools", ToolNode([called]))
    builder.add_edge(START, "model").add_conditional_edges("model", tools_condition)
    return builder.add_edge("tools", "model").compile()


graph = agent(research)
plain = agent(look_up)
