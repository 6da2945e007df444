"""A graph that does step by step what its input says: models of all kinds, tools, subgraphs, questions."""

import operator
from typing import Annotated, Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.types import Send, interrupt
from scripted import ScriptedChatModel
from tools import look_up


def furthest(one: int, other: int) -> int:
    return max(one, other)


@tool
def count(to: int, runtime: ToolRuntime) -> str:
    """Tell of each number on the way."""
    for number in range(to):
        runtime.emit_output_delta(number)
    return "counted"


@tool
def explode() -> str:
    """Fail."""
    raise ValueError("tool exploded")


class State(MessagesState, total=False):
    steps: list[dict[str, Any]]
    at: Annotated[int, furthest]
    log: Annotated[list[str], operator.add]


def spoken(piece: Any) -> AIMessageChunk:
    """A piece of an answer: text, a list of blocks, or {calls: pieces of calls}."""
    if not isinstance(piece, dict):
        return AIMessageChunk(content=piece)
    calls = [{"type": "tool_call_chunk", "name": None, "id": None, **call} for call in piece["calls"]]
    return AIMessageChunk(content="", tool_call_chunks=calls)


def model(step: dict[str, Any]) -> BaseChatModel:
    """`fails`: after so many pieces; `silent`: it does not stream, whoever wants it to."""
    script = [spoken(piece) for piece in step["pieces"]]
    silent = {"disable_streaming": True} if step.get("silent") else {}
    return ScriptedChatModel(script=script, explodes_after=step.get("fails"), **silent)


def perform(state: State) -> dict[str, Any]:
    at = state.get("at", 0)
    step = state["steps"][at]
    done: dict[str, Any] = {"at": at + 1}
    match step["do"]:
        case "say" | "sub" | "pair":
            done["messages"] = [model(step).invoke(state["messages"])]
        case "mutter":  # what the model says is not kept
            done["log"] = [str(model(step).invoke("x").content)]
        case "return":
            done["messages"] = [AIMessage(step["text"], id=step.get("id"))]
        case "return dict":
            done["messages"] = [{"role": "assistant", "content": step["text"]}]
        case "write":
            get_stream_writer()(step["value"])
        case "ask":
            done["log"] = [f"answer: {interrupt(step['question'])}"]
        case "fail":
            raise ValueError(step["text"])
    return done


def go_on(state: State) -> Any:
    said = state["messages"][-1] if state["messages"] else None
    if isinstance(said, AIMessage) and said.tool_calls:
        return "tools"
    at = state.get("at", 0)
    if at >= len(state["steps"]):
        return END
    match state["steps"][at]["do"]:
        case "sub":
            return "sub"
        case "pair":
            return [Send("act", state), Send("act", state)]
    return "act"


NEXT = ["act", "sub", "tools", END]
inner = StateGraph(State).add_node("within", perform).add_edge(START, "within").compile()
builder = StateGraph(State).add_node("act", perform).add_node("sub", inner)
builder.add_node("tools", ToolNode([look_up, count, explode]))
for node in (START, "act", "sub", "tools"):
    builder.add_conditional_edges(node, go_on, NEXT)
graph = builder.compile()
