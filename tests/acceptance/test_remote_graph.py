"""A graph of this server used as if it were a local one: RemoteGraph, on its own and as a node."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import pytest
from fix_gate import Gate
from fix_server import Server
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command, Interrupt, StateSnapshot, interrupt
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError


class Remote:
    """A remote graph, asked through its synchronous or its asynchronous methods."""

    def __init__(self, graph: RemoteGraph, synchronous: bool) -> None:
        self.graph = graph
        self._synchronous = synchronous

    async def invoke(self, *args: Any, **kwargs: Any) -> Any:
        return await self._call("invoke", args, kwargs)

    async def get_state(self, *args: Any, **kwargs: Any) -> StateSnapshot:
        return await self._call("get_state", args, kwargs)

    async def update_state(self, *args: Any, **kwargs: Any) -> Any:
        return await self._call("update_state", args, kwargs)

    async def get_graph(self, **kwargs: Any) -> Any:
        return await self._call("get_graph", (), kwargs)

    async def _call(self, name: str, args: Any, kwargs: Any) -> Any:
        if self._synchronous:
            return await asyncio.to_thread(getattr(self.graph, name), *args, **kwargs)
        return await getattr(self.graph, f"a{name}")(*args, **kwargs)

    async def history(self, *args: Any, **kwargs: Any) -> list[StateSnapshot]:
        if self._synchronous:
            return await asyncio.to_thread(lambda: [*self.graph.get_state_history(*args, **kwargs)])
        return [found async for found in self.graph.aget_state_history(*args, **kwargs)]

    async def stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        if not self._synchronous:
            async for part in self.graph.astream(*args, **kwargs):
                yield part
            return
        parts = self.graph.stream(*args, **kwargs)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            yield part

    async def parts(self, *args: Any, **kwargs: Any) -> list[Any]:
        return [part async for part in self.stream(*args, **kwargs)]


@pytest.fixture(params=["sync", "async"])
def remote(server: Server, request: pytest.FixtureRequest) -> Any:
    """Makes a remote graph of a graph's name."""
    return lambda name: Remote(RemoteGraph(name, url=server.url, api_key=None), request.param == "sync")


def on(thread: str | None = None, **configurable: Any) -> Any:
    """A config that names a thread, which need not exist."""
    return {"configurable": {"thread_id": thread or str(uuid4()), **configurable}}


# ---------------------------------------------------------------- invoke and stream
async def test_invoke_gives_the_final_state(remote: Any) -> None:
    assert await remote("joke").invoke({"topic": "ice"}) == {"topic": "ice", "joke": "Why ice? Ha!"}


async def test_invoke_with_a_thread_makes_it_and_goes_on_there(server: Server, remote: Any) -> None:
    config = on()
    assert (await remote("echo").invoke({"x": 1}, config))["log"] == ["a", "b"]
    assert (await remote("echo").invoke({"x": 2}, config)) == {"x": 2, "log": ["a", "b", "a", "b"]}
    assert server.get(f"/threads/{config['configurable']['thread_id']}")["status"] == "idle"


async def test_config_and_context_reach_the_graph(server: Server, remote: Any) -> None:
    config = on(color="red") | {"tags": ["t"], "metadata": {"who": "me"}, "recursion_limit": 7}
    await remote("echo").invoke({"x": 1}, config)
    (run,) = server.get(f"/threads/{config['configurable']['thread_id']}/runs")
    assert run["kwargs"]["config"]["tags"] == ["t"]
    assert run["kwargs"]["config"]["recursion_limit"] == 7
    assert run["kwargs"]["context"] == {"color": "red"}
    assert run["metadata"]["who"] == "me"
    await remote("echo").invoke({"x": 1}, on(), context={"color": "blue"})


async def test_a_token_is_there_before_the_next_is_emitted(remote: Any, gate: Gate) -> None:
    graph_input = gate.input()
    parts = remote("gate").stream(graph_input, stream_mode="messages")
    first = asyncio.ensure_future(anext(parts))
    node = await asyncio.to_thread(gate.node, graph_input)
    node.say("one ")
    token, metadata = await first
    assert (token["content"], metadata["langgraph_node"]) == ("one ", "speak")
    node.say("two")
    assert (await anext(parts))[0]["content"] == "two"
    node.finish()
    assert all(part[0]["content"] == "" for part in [part async for part in parts])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("values", [{"x": 1, "log": []}, {"x": 1, "log": ["a"]}, {"x": 1, "log": ["a", "b"]}]),
        ("updates", [{"a": {"log": ["a"]}}, {"b": {"log": ["b"]}}]),
        (None, [{"a": {"log": ["a"]}}, {"b": {"log": ["b"]}}]),
        (
            ["values", "updates"],
            ["values", "updates", "values", "updates", "values"],
        ),
    ],
    ids=str,
)
async def test_state_is_streamed_in_every_form(remote: Any, mode: Any, expected: Any) -> None:
    parts = await remote("echo").parts({"x": 1}, stream_mode=mode)
    assert [part.event for part in parts] == expected if isinstance(mode, list) else parts == expected


async def test_what_nodes_write_themselves_is_streamed(remote: Any) -> None:
    direct = await remote("nest").parts({}, stream_mode="custom", subgraphs=True)
    assert [data for _, data in direct] == [{"from": "leaf"}]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("tasks", ["a", "a", "b", "b"]),
        ("checkpoints", [["__start__"], ["a"], ["b"], []]),
        ("debug", ["checkpoint", *["checkpoint", "task", "task_result"] * 2, "checkpoint"]),
    ],
)
async def test_what_happens_inside_is_streamed(remote: Any, mode: str, names: list[Any]) -> None:
    parts = await remote("echo").parts({"x": 1}, on(), stream_mode=mode)
    field = {"tasks": "name", "checkpoints": "next", "debug": "type"}[mode]
    assert [part[field] for part in parts] == names


async def test_subgraphs_are_streamed_under_their_namespaces(remote: Any) -> None:
    parts = await remote("subg").parts({"topic": "ice"}, stream_mode="updates", subgraphs=True)
    names = [(tuple(name.split(":")[0] for name in namespace), [*data]) for namespace, data in parts]
    assert names == [
        ((), ["before"]),
        (("child",), ["think"]),
        (("child",), ["write"]),
        ((), ["child"]),
        ((), ["after"]),
    ]


async def test_version_two_names_type_and_namespace_of_each_part(remote: Any) -> None:
    parts = await remote("echo").parts({"x": 1}, stream_mode="values", version="v2")
    assert parts[-1] == {
        "type": "values",
        "ns": (),
        "data": {"x": 1, "log": ["a", "b"]},
        "interrupts": (),
    }


# ---------------------------------------------------------------- state
async def test_the_state_is_that_of_a_local_graph(remote: Any) -> None:
    config, graph = on(), remote("echo")
    await graph.invoke({"x": 1}, config)
    found = await graph.get_state(config)
    assert (found.values, found.next, found.tasks) == ({"x": 1, "log": ["a", "b"]}, (), ())
    assert (found.metadata["source"], found.metadata["step"]) == ("loop", 2)
    assert found.config["configurable"]["thread_id"] == config["configurable"]["thread_id"]
    assert found.parent_config["configurable"]["checkpoint_id"]
    assert await graph.get_state(found.config) == found


async def test_history_goes_back_to_the_input(remote: Any) -> None:
    config, graph = on(), remote("echo")
    await graph.invoke({"x": 1}, config)
    found = await graph.history(config)
    assert [state.next for state in found] == [(), ("b",), ("a",), ("__start__",)]
    assert await graph.history(config, limit=1) == found[:1]
    assert await graph.history(config, before=found[1].config) == found[2:]
    assert await graph.history(config, filter={"source": "input"}) == found[3:]
    old = await graph.get_state(found[1].config)
    assert (old.values, old.next) == ({"x": 1, "log": ["a"]}, ("b",))


async def test_a_state_is_updated_and_gone_on_with(remote: Any) -> None:
    config, graph = on(), remote("echo")
    await graph.invoke({"x": 1}, config)
    where = await graph.update_state(config, {"log": ["new"]}, as_node="a")
    found = await graph.get_state(config)
    assert found.config == where
    assert (found.values["log"], found.next) == (["a", "b", "new"], ("b",))
    assert (await graph.invoke(None, config))["log"] == ["a", "b", "new", "b"]


async def test_a_state_is_forked_from_an_old_one(remote: Any) -> None:
    config, graph = on(), remote("echo")
    await graph.invoke({"x": 1}, config)
    old = (await graph.history(config))[1]
    await graph.update_state(old.config, {"log": ["fork"]})
    found = await graph.get_state(config)
    assert (found.values["log"], found.next) == (["a", "fork"], ("b",))
    assert found.parent_config == old.config


async def test_the_states_of_subgraphs_are_in_their_tasks(remote: Any) -> None:
    config, graph = on(), remote("nest")
    await graph.invoke({}, config)
    (task,) = (await graph.get_state(config)).tasks
    assert task.state["configurable"]["checkpoint_ns"] == f"child:{task.id}"
    (task,) = (await graph.get_state(config, subgraphs=True)).tasks
    (inner,) = task.state.tasks
    assert inner.state.next == ("ask",)
    assert (await graph.get_state(inner.state.config)).values == {"t": "deep tok"}


async def test_a_subgraph_that_has_not_begun_has_an_empty_state(remote: Any) -> None:
    config, graph = on(), remote("subg")
    await graph.invoke({"topic": "ice"}, config, interrupt_before=["child"])
    (task,) = (await graph.get_state(config, subgraphs=True)).tasks
    assert (task.state.values, task.state.next) == ({}, ())


async def test_a_thread_that_never_ran_has_an_empty_state(server: Server, remote: Any) -> None:
    found = await remote("echo").get_state(on(server.new_thread()))
    assert (found.values, found.next, found.created_at) == ({}, (), None)


# ---------------------------------------------------------------- interrupts
async def test_the_graph_is_drawn_with_its_nodes_and_edges(remote: Any) -> None:
    drawn = await remote("echo").get_graph()
    assert list(drawn.nodes) == ["__start__", "a", "b", "__end__"]
    assert [(edge.source, edge.target) for edge in drawn.edges] == [
        ("__start__", "a"),
        ("a", "b"),
        ("b", "__end__"),
    ]


async def test_the_graph_is_drawn_with_its_subgraphs(remote: Any) -> None:
    plain, opened = await remote("nest").get_graph(), await remote("nest").get_graph(xray=True)
    assert set(plain.nodes) < set(opened.nodes) or len(opened.nodes) > len(plain.nodes)


async def test_an_interrupt_is_answered_by_a_command(remote: Any) -> None:
    config, graph = on(), remote("intr")
    asked = await graph.invoke({"x": "1"}, config)
    assert asked["__interrupt__"][0]["value"] == {"question": "ok?", "x": "1"}
    found = await graph.get_state(config)
    assert found.interrupts == found.tasks[0].interrupts
    assert found.interrupts[0] == Interrupt(**asked["__interrupt__"][0])
    done = await graph.invoke(Command(resume="yes"), config)
    assert done["log"] == ["start:st", "ask:yes", "finish"]


async def test_version_two_of_invoke_separates_interrupts_from_values(remote: Any) -> None:
    asked = await remote("intr").invoke({"x": "1"}, on(), version="v2")
    assert asked.interrupts[0].value == {"question": "ok?", "x": "1"}
    assert asked.value == {"x": "1", "log": ["start:st"]}


async def test_a_command_updates_and_goes_elsewhere(remote: Any) -> None:
    config, graph = on(), remote("intr")
    await graph.invoke({"x": "1"}, config)
    done = await graph.invoke(Command(update={"log": ["by hand"]}, goto="finish"), config)
    assert done["log"] == ["start:st", "by hand", "finish"]


async def test_a_breakpoint_stops_and_null_goes_on(remote: Any) -> None:
    config, graph = on(), remote("echo")
    assert (await graph.invoke({"x": 1}, config, interrupt_before=["b"]))["log"] == ["a"]
    assert (await graph.get_state(config)).next == ("b",)
    assert (await graph.invoke(None, config))["log"] == ["a", "b"]


# ---------------------------------------------------------------- errors
async def test_a_failed_run_raises(remote: Any) -> None:
    with pytest.raises(RemoteException) as raised:
        await remote("boom").invoke({"how": "first"})
    assert raised.value.args == ({"error": "ValueError", "message": "first node failed"},)


async def test_the_error_of_a_task_is_in_the_state(remote: Any) -> None:
    config, graph = on(), remote("boom")
    with pytest.raises(RemoteException):
        await graph.invoke({"how": "first"}, config)
    (task,) = (await graph.get_state(config)).tasks
    assert "first node failed" in str(task.error)


async def test_what_is_not_there_raises(remote: Any) -> None:
    with pytest.raises(NotFoundError):
        await remote(str(uuid4())).invoke({})
    with pytest.raises(NotFoundError):
        await remote("echo").get_state(on())
    with pytest.raises(NotFoundError):
        await remote("echo").history(on())


async def test_an_update_that_the_graph_does_not_take_raises(remote: Any) -> None:
    config, graph = on(), remote("echo")
    await graph.invoke({"x": 1}, config)
    with pytest.raises(BadRequestError, match="Node nobody does not exist"):
        await graph.update_state(config, {"x": 2}, as_node="nobody")


async def test_an_update_beside_a_run_raises(server: Server, remote: Any, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    server.stream("gate", graph_input, thread)
    node = await asyncio.to_thread(gate.node, graph_input)
    with pytest.raises(ConflictError):
        await remote("gate").update_state(on(thread), {"out": "x"})
    node.finish()


# ---------------------------------------------------------------- as a node
class Outer(TypedDict, total=False):
    x: Any
    log: list[str]
    done: bool


def nested(server: Server, name: str) -> Any:
    """A local graph whose first node is a graph of the server."""
    builder = StateGraph(Outer).add_node("remote", RemoteGraph(name, url=server.url, api_key=None))
    builder.add_node("after", lambda state: {"done": True}).add_edge(START, "remote")
    return builder.add_edge("remote", "after").compile(checkpointer=InMemorySaver())


def test_a_remote_graph_is_a_node_of_a_local_one(server: Server) -> None:
    config = on()
    done = nested(server, "echo").invoke({"x": 1}, config)
    assert done == {"x": 1, "log": ["a", "b"], "done": True}
    thread = config["configurable"]["thread_id"]
    assert server.get(f"/threads/{thread}")["values"] == {"x": 1, "log": ["a", "b"]}


async def test_a_remote_graph_is_a_node_of_a_local_one_also_asynchronously(server: Server) -> None:
    done = await nested(server, "echo").ainvoke({"x": 1}, on())
    assert done == {"x": 1, "log": ["a", "b"], "done": True}


def test_the_outer_graph_streams_what_the_remote_one_does(server: Server) -> None:
    parts = list(
        nested(server, "echo").stream({"x": 1}, on(), stream_mode=["updates", "values"], subgraphs=True)
    )
    inside = [data for namespace, mode, data in parts if namespace and mode == "updates"]
    assert inside == [{"a": {"log": ["a"]}}, {"b": {"log": ["b"]}}]
    assert {namespace[0].split(":")[0] for namespace, *_ in parts if namespace} == {"remote"}
    assert parts[-1] == ((), "values", {"x": 1, "log": ["a", "b"], "done": True})


def test_an_interrupt_of_a_remote_node_interrupts_the_outer_graph(server: Server) -> None:
    config, graph = on(), nested(server, "intr")
    asked = graph.invoke({"x": "1"}, config)
    assert asked["__interrupt__"][0].value == {"question": "ok?", "x": "1"}
    assert graph.get_state(config).next == ("remote",)
    assert graph.get_state(config).interrupts == tuple(asked["__interrupt__"])


class Chat(TypedDict, total=False):
    x: str
    log: Annotated[list[str], lambda old, new: new]


def test_the_outer_graph_hands_an_answer_on_to_its_remote_node(server: Server) -> None:
    remote = RemoteGraph("intr", url=server.url, api_key=None)
    inner = on()

    def ask(state: Chat) -> Any:
        found = remote.invoke({"x": state["x"]}, inner)
        return remote.invoke(Command(resume=interrupt(found["__interrupt__"][0]["value"])), inner)

    builder = StateGraph(Chat).add_node("ask", ask).add_edge(START, "ask")
    graph, config = builder.compile(checkpointer=InMemorySaver()), on()
    asked = graph.invoke({"x": "1"}, config)
    assert asked["__interrupt__"][0].value == {"question": "ok?", "x": "1"}
    assert graph.invoke(Command(resume="yes"), config)["log"][-2:] == ["ask:yes", "finish"]


def test_an_error_of_a_remote_node_fails_the_outer_graph(server: Server) -> None:
    with pytest.raises(RemoteException, match="first node failed"):
        StateGraph(dict).add_node("remote", RemoteGraph("boom", url=server.url, api_key=None)).add_edge(
            START, "remote"
        ).compile().invoke({"how": "first"})
