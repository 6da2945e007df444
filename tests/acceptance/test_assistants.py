"""Assistants, as users of the official clients meet them."""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4, uuid5

import pytest
import wire
from fix_engine import Engine
from fix_gate import Gate
from fix_server import REPO, RunningServer, Server, start, stop
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnprocessableEntityError,
)

SHAPES = REPO / "tests" / "graphs" / "shapes.json"
UNKNOWN = "00000000-0000-4000-8000-00000000ffff"
NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


class Client:
    """`client.assistants` of the SDK; the synchronous one is asked on a thread."""

    def __init__(self, assistants: Any, is_async: bool) -> None:
        self._assistants = assistants
        self._is_async = is_async

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._assistants, name)
        if self._is_async:
            return method  # type: ignore[no-any-return]
        return lambda *args, **kwargs: asyncio.to_thread(method, *args, **kwargs)


@pytest.fixture(scope="module")
def shapes(start_server: RunningServer) -> Server:
    return start_server(SHAPES)


@pytest.fixture(params=["async", "sync"])
async def assistants(shapes: Server, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    if request.param == "async":
        async with get_client(url=shapes.url, api_key=None) as client:
            yield Client(client.assistants, is_async=True)
    else:
        with get_sync_client(url=shapes.url, api_key=None) as client:
            yield Client(client.assistants, is_async=False)


@pytest.fixture
def tag() -> dict[str, str]:
    """Metadata that nobody else uses: tests share a server."""
    return {"test": str(uuid4())}


def content(assistant: dict[str, Any]) -> dict[str, Any]:
    """What an assistant is, apart from when."""
    return {key: value for key, value in assistant.items() if key not in ("created_at", "updated_at")}


# ---------------------------------------------------------------- create, get
async def test_a_new_assistant_is_what_was_said_of_it(assistants: Client, tag: dict[str, str]) -> None:
    made = await assistants.create(
        "joke",
        {"tags": ["t"], "recursion_limit": 50, "configurable": {"k": 1}, "own": True},
        metadata=tag,
        name="Alice",
        description="d",
    )
    assert content(made) == {
        "assistant_id": made["assistant_id"],
        "graph_id": "joke",
        "config": {"tags": ["t"], "recursion_limit": 50, "configurable": {"k": 1}, "own": True},
        "context": {"k": 1},
        "metadata": tag,
        "name": "Alice",
        "description": "d",
        "version": 1,
    }
    assert str(UUID(made["assistant_id"])) == made["assistant_id"]
    assert made["created_at"] == made["updated_at"]
    assert await assistants.get(made["assistant_id"]) == made
    assert list(made) == [
        "assistant_id",
        "graph_id",
        "config",
        "context",
        "metadata",
        "name",
        "created_at",
        "updated_at",
        "version",
        "description",
    ]


async def test_an_assistant_of_which_nothing_is_said_is_untitled(assistants: Client) -> None:
    made = await assistants.create("joke")
    assert (made["name"], made["description"]) == ("Untitled", None)
    assert made["config"] == made["context"] == made["metadata"] == {}


async def test_context_is_mirrored_into_configurable(assistants: Client) -> None:
    made = await assistants.create("joke", context={"model": "m"})
    assert (made["config"], made["context"]) == ({"configurable": {"model": "m"}}, {"model": "m"})


async def test_context_beside_configurable_is_refused(assistants: Client) -> None:
    both = {"config": {"configurable": {"a": 1}}, "context": {"a": 1}}
    with pytest.raises(BadRequestError, match="both configurable and context"):
        await assistants.create("joke", **both)
    made = await assistants.create("joke")
    with pytest.raises(BadRequestError, match="both configurable and context"):
        await assistants.update(made["assistant_id"], **both)


async def test_an_id_that_exists_is_a_conflict_or_left_as_it_is(assistants: Client) -> None:
    made = await assistants.create("joke", assistant_id=str(uuid4()), name="first")
    with pytest.raises(ConflictError, match=made["assistant_id"]):
        await assistants.create("joke", assistant_id=made["assistant_id"])
    again = await assistants.create(
        "counter", assistant_id=made["assistant_id"], if_exists="do_nothing", name="second"
    )
    assert again == made


async def test_an_unknown_graph_is_not_found_and_the_known_ones_are_told(assistants: Client) -> None:
    with pytest.raises(NotFoundError, match=r"'nope' not found.*counter.*joke"):
        await assistants.create("nope")
    made = await assistants.create("joke")
    with pytest.raises(NotFoundError, match="nope"):
        await assistants.update(made["assistant_id"], graph_id="nope")
    with pytest.raises(NotFoundError, match="nope"):
        await assistants.search(graph_id="nope")
    with pytest.raises(NotFoundError, match="nope"):
        await assistants.count(graph_id="nope")


async def test_what_only_the_server_may_say_is_dropped_from_metadata(assistants: Client) -> None:
    forged = {"assistant_id": "x", "thread_id": "y", "run_id": "z", "created_by": "system"}
    made = await assistants.create("joke", metadata=forged)
    assert made["metadata"] == {"created_by": "system"}
    changed = await assistants.update(made["assistant_id"], metadata={**forged, "a": 1})
    assert changed["metadata"] == {"created_by": "system", "a": 1}


# ---------------------------------------------------------------- automatic assistants, names of graphs
async def test_every_graph_has_an_assistant_under_the_id_that_clients_compute(assistants: Client) -> None:
    found = await assistants.get(str(uuid5(NAMESPACE, "counter")))
    assert content(found) == {
        "assistant_id": "09d6caf4-2ef3-5a8b-b1a7-114690ed5d45",
        "graph_id": "counter",
        "config": {},
        "context": {},
        "metadata": {"created_by": "system"},
        "name": "counter",
        "description": "Counts.",
        "version": 1,
    }


async def test_the_name_of_a_graph_stands_for_its_assistant(assistants: Client) -> None:
    """On the reference only for runs and drawings (contract/resources.md 3.2)."""
    found = await assistants.get("counter")
    assert found["assistant_id"] == str(uuid5(NAMESPACE, "counter"))
    assert (await assistants.get_schemas("counter"))["graph_id"] == "counter"
    assert set(await assistants.get_subgraphs("nest")) == {"child"}
    assert [version["version"] for version in await assistants.get_versions("counter")] == [1]
    assert content(await assistants.set_latest("counter", 1)) == content(found)
    assert await assistants.update("counter") == await assistants.get("counter")


async def test_a_text_that_is_no_id_and_no_graph_is_refused(assistants: Client) -> None:
    for method, *args in [("get",), ("update",), ("delete",), ("get_schemas",), ("set_latest", 1)]:
        with pytest.raises(UnprocessableEntityError, match="Invalid assistant"):
            await getattr(assistants, method)("no-such", *args)


async def test_an_unknown_assistant_is_not_found(assistants: Client) -> None:
    for method, *args in [
        ("get",),
        ("update",),
        ("delete",),
        ("get_graph",),
        ("get_schemas",),
        ("get_subgraphs",),
        ("get_versions",),
        ("set_latest", 1),
    ]:
        with pytest.raises(NotFoundError, match=UNKNOWN):
            await getattr(assistants, method)(UNKNOWN, *args)


# ---------------------------------------------------------------- patch, versions
async def test_a_change_merges_metadata_replaces_settings_and_makes_a_version(assistants: Client) -> None:
    made = await assistants.create(
        "joke", {"tags": ["t"], "configurable": {"k": 1}}, metadata={"team": "x", "nest": {"a": 1}}, name="A"
    )
    changed = await assistants.update(
        made["assistant_id"],
        graph_id="counter",
        config={"configurable": {"k2": 2}},
        metadata={"nest": {"b": 2}},
        name="B",
        description="d",
    )
    assert content(changed) == {
        "assistant_id": made["assistant_id"],
        "graph_id": "counter",
        "config": {"configurable": {"k2": 2}},
        "context": {"k2": 2},
        "metadata": {"team": "x", "nest": {"b": 2}},
        "name": "B",
        "description": "d",
        "version": 2,
    }
    assert changed["created_at"] == made["created_at"] < changed["updated_at"]
    assert await assistants.get(made["assistant_id"]) == changed


async def test_a_change_that_says_nothing_makes_no_version(assistants: Client) -> None:
    """The reference makes one (defect 15)."""
    made = await assistants.create("joke")
    assert await assistants.update(made["assistant_id"]) == made
    assert len(await assistants.get_versions(made["assistant_id"])) == 1


async def test_empty_settings_clear_config_and_context(assistants: Client) -> None:
    """The reference keeps the config (defect 16)."""
    made = await assistants.create("joke", {"tags": ["t"], "configurable": {"k": 1}})
    cleared = await assistants.update(made["assistant_id"], config={}, context={})
    assert cleared["config"] == cleared["context"] == {}


async def test_versions_come_newest_first_and_in_pages(assistants: Client, tag: dict[str, str]) -> None:
    made = await assistants.create("joke", name="1")
    for name in ("2", "3", "4"):
        await assistants.update(made["assistant_id"], name=name, metadata=tag if name == "3" else None)
    found = await assistants.get_versions(made["assistant_id"])
    assert [(version["version"], version["name"]) for version in found] == [
        (4, "4"),
        (3, "3"),
        (2, "2"),
        (1, "1"),
    ]
    assert set(found[0]) == set(made) - {"updated_at"}
    assert await assistants.get_versions(made["assistant_id"], limit=1, offset=1) == found[1:2]
    assert await assistants.get_versions(made["assistant_id"], metadata=tag) == found[:2]


async def test_going_back_to_a_version_restores_all_of_it_and_the_next_number_is_new(
    assistants: Client,
) -> None:
    """Graph and context too, which the reference forgets (defect 17)."""
    made = await assistants.create("joke", context={"k": 1}, name="A", metadata={"a": 1})
    changed = await assistants.update(
        made["assistant_id"], graph_id="counter", context={"k": 2}, name="B", metadata={"b": 1}
    )
    back = await assistants.set_latest(made["assistant_id"], 1)
    assert content(back) == content(made)
    assert changed["updated_at"] < back["updated_at"]
    assert await assistants.get(made["assistant_id"]) == back
    third = await assistants.update(made["assistant_id"], name="C")
    assert (third["version"], third["graph_id"], third["context"]) == (3, "joke", {"k": 1})


async def test_an_unknown_version_is_not_found(assistants: Client) -> None:
    made = await assistants.create("joke")
    with pytest.raises(NotFoundError, match="Version 99"):
        await assistants.set_latest(made["assistant_id"], 99)


# ---------------------------------------------------------------- search, count
async def test_search_filters_by_metadata_graph_and_name(assistants: Client, tag: dict[str, str]) -> None:
    one = await assistants.create("joke", metadata={**tag, "nest": {"a": 1, "b": 2}}, name="Straße Ä")
    two = await assistants.create("counter", metadata={**tag, "list": [1, 2]}, name="other")
    for query, expected in [
        ({}, [two, one]),
        ({"graph_id": "joke"}, [one]),
        ({"name": "ä"}, [one]),
        ({"name": "zzz"}, []),
        ({"metadata": {**tag, "nest": {"a": 1}}}, [one]),
        ({"metadata": {**tag, "nest": {"a": True}}}, []),
        ({"metadata": {**tag, "list": [2]}}, [two]),
        ({"metadata": {**tag, "missing": None}}, []),
    ]:
        asked = {"metadata": tag, **query}
        assert await assistants.search(**asked) == expected, query
        assert await assistants.count(**asked) == len(expected), query


async def test_search_goes_from_page_to_page(assistants: Client, tag: dict[str, str]) -> None:
    made = [await assistants.create("joke", metadata=tag, name=str(number)) for number in range(5)]
    offset: int | None = 0
    seen = []
    while offset is not None:
        page = await assistants.search(
            metadata=tag,
            limit=2,
            offset=offset,
            sort_by="created_at",
            sort_order="asc",
            response_format="object",
        )
        seen += page["assistants"]
        offset = None if page["next"] is None else int(page["next"])
    assert seen == made


async def test_search_sorts_and_selects(assistants: Client, tag: dict[str, str]) -> None:
    for name in ("b", "A", "c"):
        await assistants.create("joke", metadata=tag, name=name)
    found = await assistants.search(
        metadata=tag, sort_by="name", sort_order="asc", select=["name", "version"]
    )
    assert found == [{"name": name, "version": 1} for name in ("A", "b", "c")]
    assert [one["name"] for one in await assistants.search(metadata=tag, sort_by="name")] == ["c", "b", "A"]


def test_the_total_is_the_number_of_all_and_next_only_where_more_is(
    shapes: Server, tag: dict[str, str]
) -> None:
    for _ in range(5):
        shapes.post("/assistants", {"graph_id": "joke", "metadata": tag})

    def headers(**page: int) -> tuple[str | None, str | None]:
        response = shapes.request("POST", "/assistants/search", {"metadata": tag, **page})
        response.body()
        return response.header("x-pagination-total"), response.header("x-pagination-next")

    assert headers(limit=2) == ("5", "2")
    assert headers(limit=2, offset=2) == ("5", "4")
    assert headers(limit=2, offset=4) == ("5", None)
    assert headers(limit=5) == ("5", None)
    assert headers(offset=50) == ("5", None)


def test_an_order_without_a_field_is_the_order_of_creation(shapes: Server, tag: dict[str, str]) -> None:
    """The reference ignores it (defect 6)."""
    for name in ("1", "2", "3"):
        shapes.post("/assistants", {"graph_id": "joke", "metadata": tag, "name": name})
    found = shapes.post("/assistants/search", {"metadata": tag, "sort_order": "asc"})
    assert [one["name"] for one in found] == ["1", "2", "3"]


def test_browsers_may_read_the_headers_of_pages(shapes: Server) -> None:
    response = shapes.request("POST", "/assistants/search", {}, headers={"Origin": "http://localhost:3000"})
    response.body()
    exposed = str(response.header("access-control-expose-headers"))
    assert {"x-pagination-total", "x-pagination-next"} <= set(exposed.replace(",", " ").split())


# ---------------------------------------------------------------- delete
async def test_a_deleted_assistant_and_its_versions_are_gone(assistants: Client) -> None:
    made = await assistants.create("joke", assistant_id=str(uuid4()))
    await assistants.update(made["assistant_id"], name="second")
    await assistants.delete(made["assistant_id"])
    with pytest.raises(NotFoundError):
        await assistants.get(made["assistant_id"])
    again = await assistants.create("joke", assistant_id=made["assistant_id"])
    assert [one["version"] for one in await assistants.get_versions(again["assistant_id"])] == [1]


async def test_threads_stay_unless_they_are_to_go_too(shapes: Server, assistants: Client) -> None:
    other, kept, gone = shapes.new_thread(), shapes.new_thread(), shapes.new_thread()
    first, second = [(await assistants.create("joke"))["assistant_id"] for _ in range(2)]
    for assistant_id, thread in [(first, kept), (second, gone), ("joke", other)]:
        shapes.wait(assistant_id, {"topic": "ice"}, thread)
    await assistants.delete(first)
    await assistants.delete(second, delete_threads=True)
    found = [shapes.request("GET", f"/threads/{thread}") for thread in (kept, gone, other)]
    assert [response.status for response in found] == [200, 404, 200]
    assert shapes.get(f"/threads/{kept}/runs") != []


async def test_more_threads_than_one_transaction_deletes_go_too(shapes: Server, assistants: Client) -> None:
    assistant_id = (await assistants.create("joke"))["assistant_id"]
    threads = [shapes.new_thread() for _ in range(130)]
    async with get_client(url=shapes.url, api_key=None) as client:
        await asyncio.gather(
            *(client.runs.wait(thread, assistant_id, input={"topic": "x"}) for thread in threads)
        )
    await assistants.delete(assistant_id, delete_threads=True)
    assert {shapes.request("GET", f"/threads/{thread}").status for thread in threads} == {404}


def test_a_run_that_is_under_way_ends_with_its_thread(shapes: Server, gate: Gate) -> None:
    assistant_id = shapes.post("/assistants", {"graph_id": "gate"})["assistant_id"]
    graph_input = gate.input()
    stream = shapes.stream(assistant_id, graph_input)
    node = gate.node(graph_input)
    response = shapes.request("DELETE", f"/assistants/{assistant_id}?delete_threads=true")
    assert (response.status, response.body()) == (204, b"")
    assert node.hear() == "cancelled"
    stream.rest()


def test_a_run_that_is_under_way_outlives_its_assistant(shapes: Server, gate: Gate) -> None:
    assistant_id = shapes.post("/assistants", {"graph_id": "gate"})["assistant_id"]
    graph_input = gate.input()
    stream = shapes.stream(assistant_id, graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    assert shapes.request("DELETE", f"/assistants/{assistant_id}").status == 204
    node.say("still here")
    node.finish()
    tokens = [frame.data[0]["content"] for frame in stream.rest() if frame.event == "messages"]
    assert tokens[0] == "still here"


def test_a_graph_whose_automatic_assistant_was_deleted_still_runs(start_server: RunningServer) -> None:
    """On the reference it cannot be run until the next start (defect 12)."""
    server = start_server(SHAPES)
    assistant_id = str(uuid5(NAMESPACE, "joke"))
    server.request("PATCH", "/assistants/joke", {"context": {"left": "over"}}).body()
    assert server.request("DELETE", f"/assistants/{assistant_id}").status == 204
    for path in (assistant_id, "joke"):
        assert server.request("GET", f"/assistants/{path}").status == 404
    listed = server.post("/assistants/search", {"limit": 100, "select": ["graph_id"]})
    assert {"graph_id": "joke"} not in listed
    assert server.wait("joke", {"topic": "ice"})["joke"] == "Why ice? Ha!"
    assert server.get("/assistants/joke/schemas")["graph_id"] == "joke"
    assert server.request("GET", f"/assistants/{assistant_id}/schemas").status == 404


# ---------------------------------------------------------------- runs
async def test_a_run_uses_the_settings_of_its_assistant_as_they_are_now(
    shapes: Server, assistants: Client
) -> None:
    made = await assistants.create("factory", context={"node": "first"})

    def nodes() -> set[str]:
        frames = shapes.stream(made["assistant_id"], {"topic": "x"}, stream_mode="updates").rest()
        return {node.split()[0] for frame in frames if frame.event == "updates" for node in frame.data}

    assert await asyncio.to_thread(nodes) == {"first"}
    await assistants.update(made["assistant_id"], context={"node": "second"})
    assert await asyncio.to_thread(nodes) == {"second"}
    await assistants.set_latest(made["assistant_id"], 1)
    assert await asyncio.to_thread(nodes) == {"first"}


# ---------------------------------------------------------------- drawings
async def test_a_graph_is_drawn_as_deep_as_was_asked(assistants: Client) -> None:
    def ids(drawn: dict[str, Any]) -> set[str]:
        return {node["id"] for node in drawn["nodes"]}

    ends = {"__start__", "__end__"}
    assert ids(await assistants.get_graph("nest")) == ends | {"child"}
    assert ids(await assistants.get_graph("nest", xray=False)) == ends | {"child"}
    assert ids(await assistants.get_graph("nest", xray=1)) == ends | {"child:grand"}
    deepest = ends | {"child:grand:leaf", "child:grand:ask"}
    assert ids(await assistants.get_graph("nest", xray=2)) == deepest
    assert ids(await assistants.get_graph("nest", xray=True)) == deepest


async def test_a_drawing_has_the_form_that_clients_know(assistants: Client) -> None:
    assert await assistants.get_graph("nest") == {
        "nodes": [
            {"id": "__start__", "type": "runnable", "data": {"name": "__start__"}},
            {"id": "child", "type": "runnable", "data": {"name": "child"}},
            {"id": "__end__"},
        ],
        "edges": [{"source": "__start__", "target": "child"}, {"source": "child", "target": "__end__"}],
    }


@pytest.mark.parametrize("name", ["nest", "tools"])
async def test_a_remote_graph_is_drawn_like_the_graph_itself(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SHAPES.parent)
    graph = importlib.import_module(name).graph
    remote = RemoteGraph(name, url=server.url, api_key=None)
    for xray in (False, 1, True):
        here = graph.get_graph(xray=xray)
        for there in (
            await asyncio.to_thread(remote.get_graph, xray=xray),
            await remote.aget_graph(xray=xray),
        ):
            assert set(there.nodes) == set(here.nodes)
            assert set(map(tuple, there.edges)) == set(map(tuple, here.edges))
            assert there.draw_mermaid()


@pytest.mark.parametrize("xray", ["0", "-1", "1.5", "x", "١", "9" * 30])
def test_a_depth_that_makes_no_sense_is_refused(shapes: Server, xray: str) -> None:
    response = shapes.request("GET", f"/assistants/nest/graph?xray={quote(xray)}")
    assert (response.status, "xray" in response.json()["detail"]) == (422, True)


async def test_a_factory_makes_the_graph_for_its_assistant_and_is_told_why(assistants: Client) -> None:
    forged = {"langgraph_auth_user": "somebody else"}
    made = await assistants.create("factory", {"configurable": {"node": "mine", **forged}})
    drawn = await assistants.get_graph(made["assistant_id"])
    assert "mine assistants.read nobody" in [node["id"] for node in drawn["nodes"]]


@pytest.mark.parametrize("what", ["graph", "schemas", "subgraphs", "subgraphs/x"])
def test_factories_that_fail_are_the_graphs_fault_and_the_server_goes_on(shapes: Server, what: str) -> None:
    def answer(graph: str) -> tuple[int, str]:
        response = shapes.request("GET", f"/assistants/{graph}/{what}")
        return response.status, response.json()["detail"]

    status, text = answer("raises")
    assert (status, "ValueError: the key is missing" in text) == (400, True)
    status, text = answer("not_a_graph")
    assert (status, "not a graph" in text) == (424, True)
    status, text = answer("exits")
    assert (status, "SystemExit" in text) == (400, True)
    assert shapes.get("/ok")["ok"] is True


# ---------------------------------------------------------------- schemas
async def test_schemas_tell_what_goes_in_and_comes_out(assistants: Client) -> None:
    found = await assistants.get_schemas("counter")
    item = {
        "properties": {"price": {"title": "Price", "type": "integer"}},
        "required": ["price"],
        "title": "Item",
        "type": "object",
    }
    items = {"items": {"$ref": "#/$defs/Item"}, "title": "Items", "type": "array"}
    assert found == {
        "graph_id": "counter",
        "input_schema": {
            "description": "What is asked.",
            "properties": {"topic": {"title": "Topic", "type": "string"}},
            "required": ["topic"],
            "title": "Question",
            "type": "object",
        },
        "output_schema": {
            "$defs": {"Item": item},
            "properties": {
                "topic": {"title": "Topic", "type": "string"},
                "items": items,
                "line": {"title": "Line"},
            },
            "required": ["topic"],
            "title": "State",
            "type": "object",
        },
        "state_schema": {
            "$defs": {"Item": item},
            "properties": {
                "topic": {"title": "Topic", "type": "string", "default": None},
                "items": {**items, "default": None},
                "line": {"title": "Line", "default": None},
            },
            "title": "counter_state",
            "type": "object",
        },
        "config_schema": SETTINGS,
        "context_schema": SETTINGS,
    }
    assert await assistants.get_schemas("counter") == found  # remembered


SETTINGS = {
    "properties": {"model": {"title": "Model", "type": "string"}},
    "title": "Settings",
    "type": "object",
}


async def test_schemas_of_a_graph_that_a_factory_makes_are_those_of_this_assistant(
    assistants: Client,
) -> None:
    made = await assistants.create("factory", context={"settings": True})
    assert (await assistants.get_schemas("factory"))["context_schema"] is None
    assert (await assistants.get_schemas(made["assistant_id"]))["context_schema"] == SETTINGS


async def test_a_context_that_cannot_be_described_hides_nothing_else(assistants: Client) -> None:
    """The reference answers 500 (defect 18)."""
    found = await assistants.get_schemas("odd")
    assert (found["context_schema"], found["config_schema"]) == (None, {})
    assert found["input_schema"]["title"] == "Question"


async def test_schemas_of_subgraphs_are_found_by_namespace(assistants: Client) -> None:
    assert set(await assistants.get_subgraphs("nest")) == {"child"}
    everything = await assistants.get_subgraphs("nest", recurse=True)
    assert set(everything) == {"child", "child|grand"}
    assert set(everything["child"]) == {
        "input_schema",
        "output_schema",
        "state_schema",
        "config_schema",
        "context_schema",
    }
    assert everything["child"]["state_schema"]["title"] == "LangGraphState"
    grand = await assistants.get_subgraphs("nest", "child|grand", recurse=True)
    assert grand == {"child|grand": everything["child|grand"]}
    assert set(await assistants.get_subgraphs("nest", "child")) == {"child"}
    assert await assistants.get_subgraphs("nest", "child|grand") == {}
    assert await assistants.get_subgraphs("nest", "nope") == {}
    assert await assistants.get_subgraphs("joke") == {}


# ---------------------------------------------------------------- wrong requests
BAD: list[tuple[str, str, Any]] = [
    *(("create", "graph_id", value) for value in (..., "", 5, ["joke"])),
    *(("create", "assistant_id", value) for value in ("x", 5, "", "0" * 36, "{" + UNKNOWN + "}")),
    *(("create", "if_exists", value) for value in ("x", 5)),
    *(("patch", "graph_id", value) for value in ("", 5)),
    *(
        (call, field, value)
        for call in ("create", "patch")
        for field, values in {
            "name": (5, "x" * 1_001, "a\0b"),
            "description": (5, "x" * 10_001, "a\0b"),
            "metadata": (5, "x", [1], {"a": "x" * 65_536}, {"a": "\0"}, {"\0": 1}, {"a": [{"b": "x\0"}]}),
            "context": (5, "x", [1], {"a": "x" * 2**20}, {"\0": 1}),
            "config": (5, "x", [1], {"a": "x" * 2**20}, {"configurable": {"\0": 1}}),
            "config.tags": ("x", [1], ["x"] * 1_001),
            "config.recursion_limit": ("x", 0, -1, 10_001, 2**70, 1.5, True),
            "config.configurable": ("x", [1]),
            "config.metadata": ("x", {"a": "x" * 65_536}),
        }.items()
        for value in values
    ),
    *(
        (call, field, value)
        for call in ("search", "versions")
        for field, values in {
            "limit": (0, -1, 1_001, 2**70, "x", 1.5, True),
            "offset": (-1, 2**70, "x"),
        }.items()
        for value in values
    ),
    *(
        (call, "metadata", value)
        for call in ("search", "count", "versions")
        for value in (5, [1], {f"k{number}": 1 for number in range(101)}, {"a": "\0"}, {"a": [[[[[[1]]]]]]})
    ),
    *((call, "name", value) for call in ("search", "count") for value in (5, "x" * 1_001)),
    *(("search", "sort_by", value) for value in ("bogus", "version", "name; DROP TABLE assistants", 5, "")),
    *(("search", "sort_order", value) for value in ("up", "ASC", 5)),
    *(("search", "select", value) for value in ("name", ["bogus"], [5], ["name"] * 1_001)),
    *(("latest", "version", value) for value in (..., 0, -1, 2**70, "1", 1.5, True)),
]
CALLS = {
    "create": ("POST", "/assistants", {"graph_id": "joke"}),
    "patch": ("PATCH", "/assistants/counter", {}),
    "search": ("POST", "/assistants/search", {}),
    "count": ("POST", "/assistants/count", {}),
    "versions": ("POST", "/assistants/counter/versions", {}),
    "latest": ("POST", "/assistants/counter/latest", {"version": 1}),
}


def short(value: Any) -> str:
    return "missing" if value is ... else ascii(value)[:30]


@pytest.mark.parametrize(("call", "field", "value"), BAD, ids=short)
def test_a_wrong_value_is_422_and_names_its_field(shapes: Server, call: str, field: str, value: Any) -> None:
    method, path, good = CALLS[call]
    body = json.loads(json.dumps(good))
    *outer, name = field.split(".")
    place = body
    for key in outer:
        place = place.setdefault(key, {})
    place.pop(name, None) if value is ... else place.update({name: value})
    detail = refused(shapes.request(method, path, body), 422)
    assert detail.startswith(f"{field}"), detail


def refused(response: wire.Response, status: int) -> str:
    """The sentence of an answer that must have this status."""
    body = response.json()
    assert (response.status, list(body)) == (status, ["detail"]), body
    return str(body["detail"])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("raw", [b"", b"{x", b"[1]", b"null"])
def test_a_body_that_is_no_object_is_422(shapes: Server, call: str, raw: bytes) -> None:
    method, path, _ = CALLS[call]
    refused(shapes.request(method, path, raw=raw), 422)


def test_null_counts_as_absent(shapes: Server) -> None:
    nothing = dict.fromkeys(["assistant_id", "config", "context", "metadata", "name", "description"])
    made = shapes.post("/assistants", {"graph_id": "joke", **nothing})
    assert (made["name"], made["config"], made["metadata"]) == ("Untitled", {}, {})
    patched = shapes.request("PATCH", f"/assistants/{made['assistant_id']}", nothing)
    assert patched.json() == made
    searched = dict.fromkeys(["metadata", "graph_id", "name", "limit", "offset", "sort_by", "select"])
    assert shapes.post("/assistants/search", searched)


def test_metadata_cannot_grow_beyond_its_limit_by_many_changes(shapes: Server) -> None:
    made = shapes.post("/assistants", {"graph_id": "joke", "metadata": {"a": "x" * 40_000}})
    response = shapes.request(
        "PATCH", f"/assistants/{made['assistant_id']}", {"metadata": {"b": "x" * 40_000}}
    )
    assert refused(response, 422).startswith("metadata: ")
    assert shapes.get(f"/assistants/{made['assistant_id']}") == made


HOSTILE_KEYS = [
    "'", '"', "\\", "$", "$.a", "a.b", "[0]", "*", "') OR 1=1 --", "\"') OR ('1'='1", "'; DROP TABLE x;",
    "\u2028", "😀", "%", "__proto__", "#-1",
]  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=ascii)
@pytest.mark.parametrize("call", ["search", "count", "versions"])
def test_a_hostile_filter_matches_nothing_but_what_has_it(shapes: Server, call: str, key: str) -> None:
    _, path, _ = CALLS[call]
    for wanted in ({key: 1}, {"a": {key: 1}}, {"a": key}, {"a": [key]}, {key: {key: [key]}}):
        assert shapes.post(path, {"metadata": wanted}) in ([], 0)
    assert shapes.post("/assistants/search", {"name": key, "limit": 1}) == []


def test_the_methods_of_a_path_are_told(shapes: Server) -> None:
    response = shapes.request("PUT", "/assistants/counter", {})
    response.body()
    allowed = set(str(response.header("allow")).replace(",", " ").split())
    assert (response.status, allowed) == (405, {"GET", "HEAD", "PATCH", "DELETE"})


# ---------------------------------------------------------------- restarts
Restart = Callable[[], Server]


@pytest.fixture
def restart(tmp_path: Path, engine: Engine) -> Iterator[Restart]:
    """Starts a server on the same data, ending the one before."""
    started: list[Server] = []

    def start_again() -> Server:
        for server in started:
            stop(server)
        started.append(start(tmp_path, SHAPES, engine=engine))
        return started[-1]

    yield start_again
    for server in started:
        stop(server)


def test_assistants_survive_a_restart_and_patched_defaults_keep_their_patch(restart: Restart) -> None:
    """The reference forgets patches, and every assistant that says "created_by: system" (defect 13)."""
    server = restart()
    made = server.post(
        "/assistants", {"graph_id": "joke", "name": "mine", "metadata": {"created_by": "system"}}
    )
    patched = server.request("PATCH", "/assistants/counter", {"context": {"model": "m"}, "name": "n"}).json()
    back = server.post("/assistants/factory/latest", {"version": 1})
    deleted = server.post("/assistants", {"graph_id": "joke"})["assistant_id"]
    assert server.request("DELETE", f"/assistants/{deleted}").status == 204
    assert server.request("DELETE", "/assistants/nest").status == 204
    before = server.post("/assistants/counter/versions", {})

    server = restart()
    assert server.get(f"/assistants/{made['assistant_id']}") == made
    assert server.get("/assistants/counter") == patched
    assert server.get("/assistants/factory") == back
    assert server.post("/assistants/counter/versions", {}) == before
    assert len(before) == 2
    assert server.request("GET", f"/assistants/{deleted}").status == 404
    assert server.get("/assistants/nest")["version"] == 1  # automatic: there again after a start
