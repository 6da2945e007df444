"""Graphs that call their own server through `get_client()` without a URL, in every way that nodes may."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypedDict

from gate import GateModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import cache, get_client

client = get_client()  # before there is a server: what nodes use may be made at import


class State(TypedDict, total=False):
    way: str
    graph: str
    input: Any
    options: dict[str, Any]
    count: int
    port: int
    key: str
    out: Any
    messages: list[Any]


async def ask(state: State, made: Any = None) -> Any:
    """The final state of another graph."""
    options = state.get("options", {})
    return await (made or get_client()).runs.wait(None, state["graph"], input=state["input"], **options)


async def in_node(state: State):
    return {"out": await ask(state)}


async def by_module(state: State):
    return {"out": await ask(state, client)}


def in_sync_node(state: State):
    return {"out": asyncio.run(ask(state))}


def in_sync_node_by_module(state: State):
    return {"out": asyncio.run(ask(state, client))}


async def in_plain_thread(state: State):
    """A thread that knows nothing of the run: its context is empty."""
    with ThreadPoolExecutor(1) as pool:
        asked = asyncio.get_running_loop().run_in_executor(pool, asyncio.run, ask(state))
        return {"out": await asked}


async def by_remote_graph(state: State):
    return {"out": await RemoteGraph(state["graph"], client=get_client()).ainvoke(state["input"])}


async def by_stream(state: State):
    """Hands the tokens on as they come."""
    write, out = get_stream_writer(), None
    parts = get_client().runs.stream(
        None, state["graph"], input=state["input"], stream_mode=["messages-tuple", "values"]
    )
    async for part in parts:
        if part.event == "messages" and part.data[0]["content"]:
            write(part.data[0]["content"])
        elif part.event == "values":
            out = part.data
    return {"out": out}


async def when_told(state: State):
    await GateModel(port=state["port"], key=state["key"]).ainvoke("x")
    return {"out": await ask(state)}


async def by_slow_stream(state: State):
    """Takes one event and then no more until the test says so; counts what came in the end."""
    count = 0
    parts = get_client().runs.stream(None, state["graph"], input=state["input"], stream_mode="custom")
    async for part in parts:
        if part.event == "custom":
            count += 1
        if count == 1:
            await GateModel(port=state["port"], key=state["key"]).ainvoke("x")
    return {"out": count}


async def on_thread(state: State):
    """A thread of its own: made, run on in the background, joined, read, deleted."""
    api = get_client()
    thread_id = (await api.threads.create())["thread_id"]
    run = await api.runs.create(thread_id, state["graph"], input=state["input"])
    await api.runs.join(thread_id, run["run_id"])
    assert [known["run_id"] for known in await api.runs.list(thread_id)] == [run["run_id"]]
    out = (await api.threads.get_state(thread_id))["values"]
    await api.threads.delete(thread_id)
    return {"out": out}


async def many_at_once(state: State):
    """More answers at a time than there are slots."""
    return {"out": await asyncio.gather(*[ask(state) for _ in range(state["count"])])}


@tool
async def call(graph: str, graph_input: dict) -> str:
    """Call another graph."""
    return str(await ask({"graph": graph, "input": graph_input}))


@tool
def call_sync(graph: str, graph_input: dict) -> str:
    """Call another graph."""
    return str(asyncio.run(ask({"graph": graph, "input": graph_input})))


async def by_tool(state: State):
    arguments = {"graph": state["graph"], "graph_input": state["input"]}
    calls = [{"name": name, "args": arguments, "id": name} for name in ("call", "call_sync")]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def said_by_tools(state: State):
    return {"out": [message.content for message in state["messages"]]}


tools = ToolNode([call, call_sync], handle_tool_errors=False)
subgraph = StateGraph(State).add_node(in_node).add_edge(START, "in_node").compile()
WAYS = [
    in_node,
    by_module,
    in_sync_node,
    in_sync_node_by_module,
    in_plain_thread,
    by_remote_graph,
    by_stream,
    by_slow_stream,
    when_told,
    on_thread,
    many_at_once,
    by_tool,
]
builder = StateGraph(State)
for way in WAYS:
    builder.add_node(way)
builder.add_node("in_subgraph", subgraph)
builder.add_sequence([("tools", tools), said_by_tools]).add_edge("by_tool", "tools")
names = [*(way.__name__ for way in WAYS), "in_subgraph"]
builder.add_conditional_edges(START, lambda state: state["way"], names)
graph = builder.compile()


# ------------------------------------------------------------------------------------------ a lot of it


class Flood(TypedDict):
    count: int


def flow(state: Flood):
    write = get_stream_writer()
    for number in range(state["count"]):
        write(f"{number} " + 10_000 * "x")


flood = StateGraph(Flood).add_node(flow).add_edge(START, "flow").compile()


# ------------------------------------------------------------------------------------------ the cache

loads = 0


class Cached(TypedDict, total=False):
    key: str
    out: list[Any]


async def use_cache(state: Cached):
    async def load() -> int:
        global loads
        loads += 1
        return loads

    key = state["key"]
    seen: list[Any] = [await cache.cache_get(key)]
    await cache.cache_set(key, {"a": [1]}, ttl=timedelta(minutes=1))
    seen.append(await cache.cache_get(key))
    for _ in range(2):
        found = await cache.swr(f"{key} loaded", load, fresh_for=timedelta(hours=1))
        seen.append([found.status, found.value])
    seen.append(await found.mutate(7))
    seen.append(await cache.cache_get(f"{key} loaded"))
    return {"out": seen}


caching = StateGraph(Cached).add_node(use_cache).add_edge(START, "use_cache").compile()
