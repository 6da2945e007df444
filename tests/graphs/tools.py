"""A model that calls a tool; the tool asks a model itself."""

from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from scripted import ScriptedChatModel, says, text


@tool
def research(q: str) -> str:
    """Look something up, with a model."""
    return text("inner ", "answer", prompt=f"q: {q}")


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


builder = StateGraph(MessagesState).add_node(model).add_node("tools", ToolNode([research]))
builder.add_edge(START, "model").add_conditional_edges("model", tools_condition).add_edge("tools", "model")
graph = builder.compile()
