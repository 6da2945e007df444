"""A run that was not asked for subgraphs shows what LangGraph streams without them. It runs with them."""

import itertools
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send

from server.execution.root_only import RootOnly

MODES = ["messages", "custom", "values", "updates", "tasks", "checkpoints", "debug", "tools"]


def says(text: str) -> AIMessage:
    return GenericFakeChatModel(messages=iter([AIMessage(text)])).invoke("x")


def said_within(state: MessagesState) -> dict[str, Any]:
    get_stream_writer()("from within")
    human = HumanMessage("a person's", id="person")
    return {"messages": [says("in ner"), AIMessage("returned", id="returned"), human]}


inner = StateGraph(MessagesState).add_node(said_within).add_edge(START, "said_within").compile()
elsewhere = (
    StateGraph(MessagesState)
    .add_node(said_within)
    .add_edge(START, "said_within")
    .compile(checkpointer=InMemorySaver())
)


def on_a_thread_of_its_own(state: MessagesState) -> dict[str, Any]:
    found = elsewhere.invoke({"messages": []}, {"configurable": {"thread_id": str(uuid4())}})
    return {"messages": found["messages"][:1]}


def called(state: MessagesState) -> dict[str, Any]:
    return {"messages": inner.invoke({"messages": []})["messages"][0]}


def dropped(state: MessagesState) -> dict[str, Any]:
    inner.invoke({"messages": []})
    return {}


def commanded(state: MessagesState) -> Command[str]:
    return Command(update=inner.invoke({"messages": []}), goto="tasks")


@task
def a_task(text: str) -> AIMessage:
    get_stream_writer()("from a task")
    return says(text)


def tasks(state: MessagesState) -> dict[str, Any]:
    return {"messages": [a_task("by a task").result(), says("by the node")]}


def fan_out(state: MessagesState) -> list[Send]:
    return [Send("called", state)]  # two would take turns as they like


builder = StateGraph(MessagesState).add_sequence([on_a_thread_of_its_own, ("sub", inner), dropped, commanded])
builder.add_node(tasks).add_node(called).add_edge(START, "on_a_thread_of_its_own")
builder.add_conditional_edges("tasks", fan_out, ["called"])


async def streamed(modes: list[str], *, subgraphs: bool, picked: bool = False) -> list[Any]:
    """What the graph streams, without what differs from run to run; messages by their text and node."""
    graph, root = builder.compile(checkpointer=InMemorySaver()), RootOnly()
    config: Any = {"configurable": {"thread_id": "t"}, "callbacks": [root.nodes] if picked else []}
    all_modes = [*dict.fromkeys([*modes, "updates", "tasks"])] if picked else modes
    found: list[Any] = []
    names = (f"message {number}" for number in itertools.count())
    known: dict[str, str] = {}

    def keep(mode: str, chunk: Any) -> None:
        if mode == "messages":
            message, metadata = chunk
            told = {key: value for key, value in metadata.items() if key.startswith("langgraph_")}
            told["langgraph_checkpoint_ns"] = told["langgraph_checkpoint_ns"].partition(":")[0]
            if message.id not in known:
                known[message.id] = next(names)
            found.append((mode, type(message), message.content, known[message.id], told))
        elif mode in ("custom", "updates"):
            found.append((mode, chunk if mode == "custom" else list(chunk)))
        else:
            found.append((mode, sorted(chunk)))

    async for part in graph.astream({"messages": []}, config, stream_mode=all_modes, subgraphs=subgraphs):
        namespace, mode, chunk = part if subgraphs else ((), *part)
        shown = not picked or root.shows(namespace, mode, chunk)
        if picked and mode == "updates" and "messages" in modes:
            for handed_over in root.handed_over(namespace, chunk):
                keep("messages", handed_over)
        if shown and mode in modes:
            keep(mode, chunk)
    return found


@pytest.mark.parametrize("modes", [[mode] for mode in MODES] + [["messages", "updates"], MODES], ids=",".join)
async def test_it_shows_what_langgraph_streams_without_subgraphs(modes: list[str]) -> None:
    wanted = await streamed(modes, subgraphs=False)
    assert await streamed(modes, subgraphs=True, picked=True) == wanted
    assert await streamed(modes, subgraphs=True) != wanted or modes == ["tools"]  # there is something to pick
