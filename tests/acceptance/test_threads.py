"""Threads, as users of the Python SDK and of curl make, find, copy and throw them away."""

import inspect
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fix_engine import EMBEDDED, Engine
from fix_gate import Gate
from fix_server import CONFIG, RunningServer, Server, eventually, start, stop
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnprocessableEntityError,
)

SUPERSTEPS = [
    {"updates": [{"values": {"x": 1}, "as_node": "__start__"}]},
    {"updates": [{"values": {"log": ["a"]}, "as_node": "a"}]},
]


FIELDS = ["thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "config"]
FIELDS += ["values", "error", "interrupts"]


class Threads:
    """The threads of a client, synchronous or not."""

    def __init__(self, threads: Any) -> None:
        self._threads = threads

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            found = getattr(self._threads, name)(*args, **kwargs)
            return await found if inspect.isawaitable(found) else found

        return call


@pytest.fixture(params=["sync", "async"])
async def threads(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Threads]:
    if request.param == "sync":
        with get_sync_client(url=server.url, api_key=None) as client:
            yield Threads(client.threads)
    else:
        async with get_client(url=server.url, api_key=None) as asynchronous:
            yield Threads(asynchronous.threads)


@pytest.fixture
def mark() -> dict[str, Any]:
    """Metadata that only the threads of this test have."""
    return {"test": str(uuid4())}


def ids(found: list[Any]) -> list[str]:
    return [thread["thread_id"] for thread in found]


# ---------------------------------------------------------------------------------- create, read, change


async def test_a_thread_is_created_in_every_form(threads: Threads, mark: dict[str, Any]) -> None:
    plain = await threads.create()
    assert list(plain) == FIELDS
    assert (plain["metadata"], plain["status"], plain["values"]) == ({}, "idle", None)
    thread_id = str(uuid4())
    made = await threads.create(thread_id=thread_id, metadata=mark, graph_id="echo", ttl=5)
    assert made["metadata"] == {**mark, "graph_id": "echo"}
    assert await threads.create(thread_id=thread_id, if_exists="do_nothing", metadata={"x": 1}) == made
    with pytest.raises(ConflictError):
        await threads.create(thread_id=thread_id, if_exists="raise")


async def test_a_ttl_is_shown_when_it_is_asked_for(threads: Threads) -> None:
    made = await threads.create(ttl={"ttl": 90, "strategy": "keep_latest"})
    assert "ttl" not in made
    shown = await threads.get(made["thread_id"], include=["ttl"])
    assert shown["ttl"]["expires_at"][17:] == made["updated_at"][17:]
    del shown["ttl"]["expires_at"]
    assert shown.pop("ttl") == {"strategy": "keep_latest", "ttl_minutes": 90}
    assert shown == made == await threads.get(made["thread_id"])
    await threads.update(made["thread_id"], metadata={}, ttl=7)
    shown = await threads.get(made["thread_id"], include=["ttl"])
    assert (shown["ttl"]["strategy"], shown["ttl"]["ttl_minutes"]) == ("delete", 7)
    forever = await threads.create()
    assert await threads.get(forever["thread_id"], include=["ttl"]) == forever


async def test_metadata_are_merged_and_nothing_else_changes(threads: Threads) -> None:
    made = await threads.create(metadata={"a": 1, "n": {"x": 1}})
    changed = await threads.update(
        made["thread_id"], metadata={"n": {"y": 2}, "run_id": "r", "assistant_id": "a"}
    )
    assert changed["metadata"] == {"a": 1, "n": {"y": 2}}
    assert changed["updated_at"] > made["updated_at"]
    assert {**changed, "metadata": {}, "updated_at": ""} == {**made, "metadata": {}, "updated_at": ""}
    assert await threads.update(made["thread_id"], metadata={"a": 2}, return_minimal=True) is None
    assert (await threads.get(made["thread_id"]))["metadata"]["a"] == 2


async def test_what_is_not_there_raises(threads: Threads) -> None:
    unknown = str(uuid4())
    for call in (
        threads.get(unknown),
        threads.update(unknown, metadata={}),
        threads.delete(unknown),
        threads.copy(unknown),
    ):
        with pytest.raises(NotFoundError):
            await call
    for call in (
        threads.get("abc"),
        threads.update("abc", metadata={}),
        threads.copy("abc"),
        threads.search(ids=["abc"]),
        threads.prune(["abc"]),
    ):
        with pytest.raises(UnprocessableEntityError):
            await call


async def test_a_thread_is_deleted(threads: Threads, server: Server) -> None:
    thread_id = server.new_thread()
    server.wait("echo", {"x": 1}, thread_id)
    await threads.delete(thread_id)
    for call in (threads.get(thread_id), threads.get_state(thread_id), threads.delete(thread_id)):
        with pytest.raises(NotFoundError):
            await call


# ---------------------------------------------------------------------------------- a past


async def test_a_thread_is_created_with_a_past_and_goes_on_from_there(
    threads: Threads, server: Server
) -> None:
    made = await threads.create(graph_id="echo", supersteps=SUPERSTEPS)
    assert (made["status"], made["values"]) == ("interrupted", {"x": 1, "log": ["a"]})
    assert made == await threads.get(made["thread_id"])
    history = await threads.get_history(made["thread_id"])
    assert [(state["next"], state["metadata"]["source"]) for state in history] == [
        (["b"], "update"),
        (["a"], "update"),
    ]
    assert server.wait("echo", None, made["thread_id"])["log"] == ["a", "b"]


async def test_a_superstep_may_be_a_command(threads: Threads) -> None:
    command = {"values": None, "command": {"update": {"log": ["c"]}}, "as_node": "a"}
    made = await threads.create(graph_id="echo", supersteps=[*SUPERSTEPS[:1], {"updates": [command]}])
    assert made["values"] == {"x": 1, "log": ["c"]}


async def test_a_past_is_moved_from_one_thread_to_another(threads: Threads, server: Server) -> None:
    """What `supersteps` are for: the writes of a thread's tasks, made again elsewhere."""
    old = server.new_thread()
    server.wait("echo", {"x": 1}, old)
    history = list(reversed(await threads.get_history(old)))
    supersteps = [
        {"updates": [{"values": task["result"], "as_node": task["name"]} for task in state["tasks"]]}
        for state in history
        if state["tasks"]
    ]
    supersteps[0] = {"updates": [{"values": {"x": 1}, "as_node": "__start__"}]}
    made = await threads.create(graph_id="echo", supersteps=supersteps)
    assert made["values"] == (await threads.get(old))["values"]
    assert made["status"] == "idle"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"supersteps": SUPERSTEPS}, BadRequestError),  # no graph
        ({"graph_id": "nope", "supersteps": SUPERSTEPS}, NotFoundError),
        (
            {"graph_id": "echo", "supersteps": [*SUPERSTEPS, {"updates": [{"values": {}, "as_node": "zz"}]}]},
            BadRequestError,
        ),
        ({"graph_id": "echo", "supersteps": [{"updates": []}]}, UnprocessableEntityError),
        (
            {"graph_id": "echo", "supersteps": [{"updates": [{"values": {}, "as_node": ""}]}]},
            UnprocessableEntityError,
        ),
        (
            {
                "graph_id": "edges",
                "supersteps": [{"updates": [{"values": {"how": "exit"}, "as_node": "work"}]}],
            },
            None,
        ),
    ],
)
async def test_a_past_that_cannot_be_leaves_no_thread(
    threads: Threads, said: dict[str, Any], error: type[Exception] | None
) -> None:
    thread_id = str(uuid4())
    with pytest.raises(error or BadRequestError):
        await threads.create(thread_id=thread_id, **said)
    with pytest.raises(NotFoundError):
        await threads.get(thread_id)


async def test_supersteps_are_written_into_a_thread_that_exists_unless_it_is_busy(
    threads: Threads, server: Server, gate: Gate
) -> None:
    made = await threads.create(graph_id="echo", supersteps=SUPERSTEPS)
    same = {"thread_id": made["thread_id"], "if_exists": "do_nothing"}
    more = [{"updates": [{"values": {"log": ["b"]}, "as_node": "b"}]}]
    changed = await threads.create(**same, supersteps=more)
    assert (changed["values"]["log"], changed["status"]) == (["a", "b"], "idle")
    with pytest.raises(ConflictError):
        await threads.create(thread_id=made["thread_id"], graph_id="echo", supersteps=more)
    graph_input = gate.input()
    stream = server.stream("gate", graph_input, made["thread_id"])
    node = gate.node(graph_input)
    with pytest.raises(ConflictError):
        await threads.create(**same, supersteps=more)
    node.finish()
    stream.rest()


def test_of_two_threads_of_one_id_the_first_that_is_there_wins(server: Server, gate: Gate) -> None:
    thread_id, graph_input = str(uuid4()), gate.input()
    values = {"how": "wait", **graph_input}
    said = {"thread_id": thread_id, "metadata": {"graph_id": "edges"}}
    past = [{"updates": [{"values": values, "as_node": "work"}]}]
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(server.request, "POST", "/threads", {**said, "supersteps": past})
        node = gate.node(graph_input)  # an edge of the graph, which decides what is next
        first = server.post("/threads", said)
        node.finish()
        assert second.result().status == 409
    assert server.get(f"/threads/{thread_id}") == first


# ---------------------------------------------------------------------------------- search


@pytest.fixture
async def found(threads: Threads, server: Server, mark: dict[str, Any]) -> list[str]:
    """Four threads: fresh, ran, waits for an answer, failed; in the order in which they changed last."""
    made = [(await threads.create(metadata={**mark, "n": {"at": n}}))["thread_id"] for n in range(4)]
    server.wait("echo", {"x": 1}, made[1])
    server.wait("intr", {"x": "1"}, made[2])
    server.wait("boom", {"how": "first"}, made[3])
    return made


async def test_threads_are_found_by_what_they_say(
    threads: Threads, mark: dict[str, Any], found: list[str]
) -> None:
    fresh, ran, waits, failed = found
    assert ids(await threads.search(metadata=mark)) == [failed, waits, ran, fresh]
    assert ids(await threads.search(metadata={**mark, "graph_id": "intr"})) == [waits]
    assert ids(await threads.search(metadata={**mark, "n": {"at": 1}})) == [ran]
    assert ids(await threads.search(metadata=mark, values={"log": ["b"]})) == [ran]
    for status, expected in (("idle", [ran, fresh]), ("interrupted", [waits]), ("error", [failed])):
        assert ids(await threads.search(metadata=mark, status=status)) == expected
        assert await threads.count(metadata=mark, status=status) == len(expected)
    assert ids(await threads.search(ids=[ran, waits, str(uuid4())])) == [waits, ran]
    assert ids(await threads.search(metadata=mark, ids=[])) == [failed, waits, ran, fresh]
    assert await threads.count(metadata=mark) == 4
    assert await threads.count(metadata=mark, values={"x": 1}) == 1
    assert await threads.count() >= 4


async def test_what_is_found_is_what_is_read(
    threads: Threads, mark: dict[str, Any], found: list[str]
) -> None:
    shown = {thread["thread_id"]: thread for thread in await threads.search(metadata=mark)}
    for thread_id in found:
        assert shown[thread_id] == await threads.get(thread_id)
    ((interrupt,),) = shown[found[2]]["interrupts"].values()
    assert interrupt["value"] == {"question": "ok?", "x": "1"}


async def test_threads_are_sorted_and_come_in_pages(
    threads: Threads, mark: dict[str, Any], found: list[str]
) -> None:
    for field in ("thread_id", "status", "created_at", "updated_at", "state_updated_at"):
        for order in ("asc", "desc"):
            some = await threads.search(metadata=mark, sort_by=field, sort_order=order, select=[field])
            values = [thread[field] for thread in some]
            assert values == sorted(values, reverse=order == "desc")
            assert len(values) == 4
    assert ids(await threads.search(metadata=mark, sort_order="asc")) == found  # without sort_by too
    pages = [await threads.search(metadata=mark, limit=3, offset=offset) for offset in (0, 3, 6)]
    assert [ids(page) for page in pages] == [[found[3], found[2], found[1]], [found[0]], []]


async def test_fields_are_selected(threads: Threads, mark: dict[str, Any], found: list[str]) -> None:
    some = await threads.search(metadata={**mark, "graph_id": "echo"}, select=["thread_id", "values"])
    assert some == [{"thread_id": found[1], "values": {"x": 1, "log": ["a", "b"]}}]
    some = await threads.search(metadata={**mark, "graph_id": "echo"}, select=["status", "context"])
    assert some == [{"status": "idle"}]
    with pytest.raises(UnprocessableEntityError):
        await threads.search(select=["nope"])


async def test_parts_are_extracted(threads: Threads, mark: dict[str, Any], found: list[str]) -> None:
    places = {
        "last": "values.log[-1]",
        "first": "values.log[0]",
        "dots": "values..x",
        "none": "values.zz[3].y",
        "star": "values.log[*]",
        "key": "values['x']",
        "index": "values.log.0",
        "nested": "metadata.n.at",
        "asked": "interrupts",
        "config": "config",
    }
    some = await threads.search(metadata={**mark, "graph_id": "echo"}, select=["thread_id"], extract=places)
    assert some == [
        {
            "thread_id": found[1],
            "extracted": {
                **dict.fromkeys(("none", "star", "key", "index")),
                "last": "b",
                "first": "a",
                "dots": 1,
                "nested": 1,
                "asked": {},
                "config": {},
            },
        }
    ]
    whole = await threads.search(metadata={**mark, "graph_id": "echo"}, extract={"x": "values.x"})
    assert whole[0].pop("extracted") == {"x": 1}
    assert whole == [await threads.get(found[1])]


@pytest.mark.parametrize(
    "places",
    [
        {"x": "status"},
        {"x": ""},
        {"x": "valuesx.y"},
        {"not an identifier": "values"},
        {"": "values"},
        {"x": "values." + "x" * 1_000},
        {f"a{number}": "values" for number in range(11)},
    ],
)
async def test_a_place_that_cannot_be_is_refused(threads: Threads, places: dict[str, str]) -> None:
    with pytest.raises(UnprocessableEntityError):
        await threads.search(extract=places)


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 0},
        {"limit": 1_001},
        {"limit": 2**70},
        {"limit": True},
        {"offset": -1},
        {"offset": 2**70},
        {"status": "bogus"},
        {"status": 1},
        {"sort_by": "values"},
        {"sort_order": "up"},
        {"ids": ["abc"]},
        {"ids": [str(uuid4())] * 1_001},
        {"metadata": []},
        {"metadata": {"x": "\0"}},
        {"metadata": {f"k{number}": 1 for number in range(101)}},
        {"values": {"x": "y" * 70_000}},
        {"values": 5},
        {"extract": {"x": 5}},
        {"select": "thread_id"},
    ],
)
@pytest.mark.parametrize("operation", ["search", "count"])
def test_a_wrong_search_is_422_and_names_the_field(server: Server, body: Any, operation: str) -> None:
    (field,) = body
    if operation == "count" and field in ("limit", "offset", "sort_by", "sort_order", "extract", "select"):
        return  # counting ignores them
    answer = server.request("POST", f"/threads/{operation}", body)
    assert answer.status == 422
    assert json.loads(answer.body())["detail"].startswith(field)


@pytest.mark.parametrize("field", ["metadata", "values", "ids", "status", "select", "extract", "limit"])
def test_null_counts_as_absent(server: Server, field: str) -> None:
    assert server.request("POST", "/threads/search", {field: None}).status == 200


def test_the_total_is_the_number_of_all(server: Server, mark: dict[str, Any]) -> None:
    for _ in range(5):
        server.post("/threads", {"metadata": mark})
    for limit, offset, following in ((2, 0, "2"), (2, 2, "4"), (2, 4, None), (5, 0, None), (2, 9, None)):
        answer = server.request(
            "POST", "/threads/search", {"metadata": mark, "limit": limit, "offset": offset}
        )
        assert answer.header("x-pagination-total") == "5"
        assert answer.header("x-pagination-next") == following


# ---------------------------------------------------------------------------------- copy


async def test_a_copy_is_answered_where_its_source_waits(threads: Threads, server: Server) -> None:
    thread_id = server.new_thread()
    server.wait("intr", {"x": "1"}, thread_id)
    copy = await threads.copy(thread_id)
    source = await threads.get(thread_id)
    for name in ("metadata", "status", "config", "values", "error", "interrupts"):
        assert copy[name] == source[name]
    assert (copy["status"], len(copy["interrupts"])) == ("interrupted", 1)
    theirs, ours = [await threads.get_history(each["thread_id"]) for each in (source, copy)]
    assert [state["checkpoint_id"] for state in theirs] == [state["checkpoint_id"] for state in ours]
    assert {state["checkpoint"]["thread_id"] for state in ours} == {copy["thread_id"]}
    assert [state["values"] for state in theirs] == [state["values"] for state in ours]
    done = server.wait("intr", None, copy["thread_id"], command={"resume": "yes"})
    assert done["log"] == ["start:st", "ask:yes", "finish"]
    assert await threads.get(thread_id) == source
    assert server.get(f"/threads/{thread_id}/runs") != []
    assert len(server.get(f"/threads/{copy['thread_id']}/runs")) == 1


def test_a_copy_needs_no_body(server: Server) -> None:
    thread_id = server.new_thread()
    for body in (b"", b"nonsense"):
        answer = httpx.post(f"{server.url}/threads/{thread_id}/copy", content=body)
        assert answer.status_code == 200


async def test_an_old_state_of_a_copy_can_be_gone_back_to(threads: Threads, server: Server) -> None:
    thread_id = server.new_thread()
    server.wait("echo", {"x": 1}, thread_id)
    copy = await threads.copy(thread_id)
    old = (await threads.get_history(copy["thread_id"]))[1]
    forked = server.wait("echo", None, copy["thread_id"], checkpoint={"checkpoint_id": old["checkpoint_id"]})
    assert forked == {"x": 1, "log": ["a", "b"]}


# ---------------------------------------------------------------------------------- prune, storage


async def test_threads_are_pruned(threads: Threads, server: Server) -> None:
    made = [server.new_thread() for _ in range(3)]
    for thread_id in made:
        server.wait("echo", {"x": 1}, thread_id)
    before = await threads.get_state(made[0])
    assert await threads.prune([*made[:2], str(uuid4())], strategy="keep_latest") == {"pruned_count": 2}
    assert [len(await threads.get_history(each)) for each in made] == [1, 1, 4]
    assert await threads.get_state(made[0]) == before
    assert server.wait("echo", {"x": 2}, made[0])["log"] == ["a", "b", "a", "b"]
    assert await threads.prune([*made, *made]) == {"pruned_count": 3}
    for thread_id in made:
        with pytest.raises(NotFoundError):
            await threads.get(thread_id)


async def test_a_busy_thread_keeps_its_past_and_can_be_deleted(
    threads: Threads, server: Server, gate: Gate
) -> None:
    thread_id, graph_input = server.new_thread(), gate.input()
    stream = server.stream("gate", graph_input, thread_id)
    node = gate.node(graph_input)
    assert await threads.prune([thread_id], strategy="keep_latest") == {"pruned_count": 0}
    assert await threads.prune([thread_id]) == {"pruned_count": 1}
    assert node.hear() in ("cancelled", "")
    closing = [event for event in stream.rest() if event.event == "metadata"][-1]
    assert closing.data["outcome"] == "deleted"


@pytest.mark.parametrize(
    "body", [{}, {"thread_ids": None}, {"thread_ids": [1]}, {"thread_ids": [], "strategy": "archive"}]
)
def test_a_wrong_prune_is_422(server: Server, body: Any) -> None:
    assert server.request("POST", "/threads/prune", body).status == 422


def test_what_a_thread_takes_is_told(server: Server, engine: Engine) -> None:
    thread_id = server.new_thread()
    fresh = server.get(f"/threads/{thread_id}/storage")
    nothing = {"count": 0, "bytes": 0}
    assert fresh == {
        "thread_id": thread_id,
        "total_bytes": 0,
        "checkpoints": nothing,
        "channel_values": {**nothing, "by_channel": {}},
        "pending_writes": nothing,
    }
    server.wait("echo", {"x": "y" * 10_000}, thread_id)
    found = server.get(f"/threads/{thread_id}/storage")
    assert found["checkpoints"]["count"] == 4
    channels = found["channel_values"]["by_channel"]
    assert (channels["x"]["versions"], channels["log"]["versions"]) == (1, 2)
    stored = 3 if engine is EMBEDDED else 1  # in each checkpoint that has it, or once
    assert stored * 10_000 < channels["x"]["bytes"] < stored * 10_000 + 100
    assert found["channel_values"]["count"] == sum(each["versions"] for each in channels.values())
    assert found["channel_values"]["bytes"] == sum(each["bytes"] for each in channels.values())
    parts = [found[name]["bytes"] for name in ("checkpoints", "channel_values", "pending_writes")]
    assert found["total_bytes"] == sum(parts)
    assert server.request("GET", f"/threads/{uuid4()}/storage").status == 404
    assert server.request("GET", "/threads/abc/storage").status == 422


# ---------------------------------------------------------------------------------- TTL, retention, restart


@pytest.fixture(scope="module")
def sweeping(start_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that looks several times a second at what has expired, and keeps two checkpoints."""
    return start_server(config=config_with(tmp_path_factory.mktemp("sweeping"), SWEEPING))


SWEEPING = {
    "ttl": {"sweep_interval_minutes": 0.002, "default_ttl": 600, "strategy": "keep_latest"},
    "retention": {"checkpoints": 2},
}


def config_with(folder: Path, checkpointer: Any) -> Path:
    """The graphs of the tests under another configuration."""
    document = json.loads(CONFIG.read_text())
    document["dependencies"] = [str(CONFIG.parent)]
    document["graphs"] = {name: str(CONFIG.parent / target) for name, target in document["graphs"].items()}
    file = folder / "langgraph.json"
    file.write_text(json.dumps({**document, "checkpointer": checkpointer}))
    return file


def gone(server: Server, thread_id: str) -> bool:
    return server.request("GET", f"/threads/{thread_id}").status == 404


def test_a_thread_is_gone_when_its_time_has_come(sweeping: Server) -> None:
    thread_id = sweeping.post("/threads", {"ttl": {"ttl": 0.001}})["thread_id"]
    other = sweeping.new_thread()
    assert eventually(lambda: gone(sweeping, thread_id))
    assert not gone(sweeping, other)


def test_the_configured_ttl_is_that_of_every_new_thread(sweeping: Server) -> None:
    run = sweeping.post("/runs", {"assistant_id": "echo", "input": {}, "on_completion": "keep"})
    for thread_id in (sweeping.new_thread(), run["thread_id"]):
        ttl = sweeping.get(f"/threads/{thread_id}?include=ttl")["ttl"]
        assert (ttl["strategy"], ttl["ttl_minutes"]) == ("keep_latest", 600)


def test_a_busy_thread_outlives_its_time_until_its_run_has_ended(sweeping: Server, gate: Gate) -> None:
    thread_id = sweeping.post("/threads", {"ttl": {"ttl": 0.01}})["thread_id"]
    graph_input = gate.input()
    stream = sweeping.stream("gate", graph_input, thread_id)
    node = gate.node(graph_input)
    witness = sweeping.post("/threads", {"ttl": {"ttl": 0.012}})["thread_id"]
    assert eventually(lambda: gone(sweeping, witness))
    node.say("still here")
    node.finish()
    assert [event.event for event in stream.rest()][-1] != "error"
    assert sweeping.get(f"/threads/{thread_id}")["status"] == "idle"
    assert eventually(lambda: gone(sweeping, thread_id))


def test_a_thread_keeps_as_much_of_its_past_as_is_configured(sweeping: Server) -> None:
    thread_id = sweeping.new_thread()
    sweeping.wait("echo", {"x": 1}, thread_id)
    before = sweeping.get(f"/threads/{thread_id}/state")
    assert eventually(lambda: len(sweeping.get(f"/threads/{thread_id}/history?limit=10")) == 2)
    assert sweeping.get(f"/threads/{thread_id}/state") == before
    assert sweeping.wait("echo", {"x": 2}, thread_id)["log"] == ["a", "b", "a", "b"]


def test_a_restart_keeps_everything(tmp_path: Path, engine: Engine, mark: dict[str, Any]) -> None:
    first = start(tmp_path, engine=engine)
    try:
        made = first.post(
            "/threads",
            {"metadata": {**mark, "graph_id": "echo"}, "supersteps": SUPERSTEPS, "ttl": {"ttl": 60}},
        )
        copy = first.post(f"/threads/{made['thread_id']}/copy")
        first.request("PATCH", f"/threads/{copy['thread_id']}", {"metadata": {"copied": True}}).body()
        search = {"metadata": mark}
        before = first.post("/threads/search", search)
        shown = [first.get(f"/threads/{each['thread_id']}?include=ttl") for each in before]
        storage = first.get(f"/threads/{made['thread_id']}/storage")
    finally:
        stop(first)
    again = start(tmp_path, engine=engine)
    try:
        assert again.post("/threads/search", search) == before
        assert again.post("/threads/count", {"metadata": {"copied": True}}) == 1
        assert [again.get(f"/threads/{each['thread_id']}?include=ttl") for each in before] == shown
        assert again.get(f"/threads/{made['thread_id']}/storage") == storage
        assert again.wait("echo", None, copy["thread_id"])["log"] == ["a", "b"]
    finally:
        stop(again)
