"""An agent whose tool calls a model itself: the tokens of both reach the client, told apart by metadata."""

from langchain_core.messages import AnyMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from graphs.models import chat_model

model = chat_model()


@tool
def find_joke(topic: str) -> str:
    """Find a joke about a topic."""
    return model.invoke([{"role": "user", "content": f"Tell me a joke about {topic}"}]).text


model_with_tools = model.bind_tools([find_joke])


def call_model(state: MessagesState) -> dict[str, list[AnyMessage]]:
    return {"messages": [model_with_tools.invoke(state["messages"])]}


graph = (
    StateGraph(MessagesState)
    .add_node("agent", call_model)
    .add_node("tools", ToolNode([find_joke]))
    .add_edge(START, "agent")
    .add_conditional_edges("agent", tools_condition)
    .add_edge("tools", "agent")
    .compile()
)
