"""What is somebody else's is not there: every operation that takes an id, as another user (reliability S1).

The table is made from the operations themselves: one that is added is in it, or the test fails.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from fix_auth import ALICE, BOB, GRAPHS, variant
from fix_server import RunningServer, Server
from langgraph_sdk import get_client
from langgraph_sdk.errors import ConflictError, NotFoundError, PermissionDeniedError
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from server.api.operation import Operation
from server.app import OPERATIONS

NAMED = [operation for operation in OPERATIONS if "{" in operation.path]
CRON = {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": {}}
RUN = {"assistant_id": "echo", "input": {}}
# Bodies that are good in themselves, so that an answer is about the id.
BODIES: dict[str, Any] = {
    "PATCH /assistants/{assistant_id}": {"metadata": {"mine": "now"}},
    "POST /assistants/{assistant_id}/versions": {},
    "POST /assistants/{assistant_id}/latest": {"version": 1},
    "PATCH /threads/{thread_id}": {"metadata": {"mine": "now"}},
    "POST /threads/{thread_id}/state": {"values": {"x": "changed"}},
    "POST /threads/{thread_id}/state/checkpoint": {"checkpoint": {}},
    "POST /threads/{thread_id}/history": {"limit": 5},
    "POST /threads/{thread_id}/runs": RUN,
    "POST /threads/{thread_id}/runs/stream": RUN,
    "POST /threads/{thread_id}/runs/wait": RUN,
    "POST /threads/{thread_id}/runs/crons": CRON,
    "PATCH /runs/crons/{cron_id}": {"enabled": False},
    "POST /threads/{thread_id}/stream/events": {"channels": ["values"]},
    "POST /threads/{thread_id}/commands": {"id": 1, "method": "agent.getTree"},
}
# What clients of protocol v2 watch need not be there yet, so there it is open; nobody else's is.
OPEN_WHEN_MISSING = ("/threads/{thread_id}/stream/events", "/threads/{thread_id}/commands")


@dataclass(frozen=True)
class Estate:
    """A server, and what Alice has on it."""

    server: Server
    ids: dict[str, str]

    def path(self, operation: Operation, ids: dict[str, str]) -> str:
        return re.sub(r"{(\w+)}", lambda found: ids[found[1]], operation.path)


@pytest.fixture(scope="module", params=["plain", "stamping"])
def estate(
    request: pytest.FixtureRequest, start_server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Estate:
    """Once where everybody has what he made, once where a handler filters by metadata."""
    folder = tmp_path_factory.mktemp("owners")
    server = start_server(variant(folder, {"path": f"{GRAPHS}/owners.py:{request.param}"}))

    def post(path: str, body: Any) -> Any:
        answer = server.request("POST", path, body, headers=ALICE)
        assert answer.status in (200, 204), answer.body()
        return answer.json()

    thread = post("/threads", {"metadata": {"secret": "of alice"}})["thread_id"]
    post(f"/threads/{thread}/runs/wait", {**RUN, "input": {"x": "secret of alice"}})
    state = server.request("GET", f"/threads/{thread}/state", headers=ALICE).json()
    run = server.request("GET", f"/threads/{thread}/runs", headers=ALICE).json()[0]["run_id"]
    ids = {
        "thread_id": thread,
        "run_id": run,
        "checkpoint_id": state["checkpoint_id"],
        "assistant_id": post("/assistants", {"graph_id": "echo", "name": "alices"})["assistant_id"],
        "cron_id": post(f"/threads/{thread}/runs/crons", CRON)["cron_id"],
        "namespace": "x",
    }
    return Estate(server, ids)


def operation_id(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def said(answer: Any, ids: dict[str, str]) -> tuple[int, str]:
    text = answer.body().decode()
    for name, value in ids.items():
        text = text.replace(value, f"<{name}>")
    return answer.status, text


@pytest.mark.parametrize("operation", NAMED, ids=operation_id)
def test_what_is_somebody_elses_is_not_there(estate: Estate, operation: Operation) -> None:
    assert operation.body is None or operation_id(operation) in BODIES, "give it a body in the table"
    body, server = BODIES.get(operation_id(operation)), estate.server
    nowhere = {**{name: str(uuid4()) for name in estate.ids}, "namespace": "x"}
    foreign = server.request(operation.method, estate.path(operation, estate.ids), body, headers=BOB)
    if operation.path == "/threads/{thread_id}/commands":
        assert foreign.json()["error"] == "no_such_run"
        return
    found = said(foreign, estate.ids)
    assert found[0] == 404, found
    assert "secret" not in found[1]
    if operation.path not in OPEN_WHEN_MISSING:
        missing = server.request(operation.method, estate.path(operation, nowhere), body, headers=BOB)
        assert found == said(missing, nowhere)


def test_nothing_of_it_was_changed_by_that(estate: Estate) -> None:
    """After all of the above: these tests run in their order."""
    server, ids = estate.server, estate.ids
    thread = server.request("GET", f"/threads/{ids['thread_id']}", headers=ALICE).json()
    assert thread["values"]["x"] == "secret of alice"
    assert "mine" not in thread["metadata"]
    runs = server.request("GET", f"/threads/{ids['thread_id']}/runs", headers=ALICE).json()
    assert [run["run_id"] for run in runs] == [ids["run_id"]]
    assistant = server.request("GET", f"/assistants/{ids['assistant_id']}", headers=ALICE).json()
    assert (assistant["version"], "mine" in assistant["metadata"]) == (1, False)
    cron = server.request("GET", f"/runs/crons/{ids['cron_id']}", headers=ALICE).json()
    assert cron["enabled"]


COMMANDS: dict[str, dict[str, Any]] = {
    "run.start": {"assistant_id": "echo", "input": {}},
    "input.respond": {"interrupt_id": "x", "response": 1},
    "agent.getTree": {},
    "state.get": {},
    "state.listCheckpoints": {},
    "state.fork": {"checkpoint_id": str(uuid4())},
    "input.inject": {},
}


@pytest.mark.parametrize("method", COMMANDS)
def test_no_command_reaches_somebody_elses_thread(estate: Estate, method: str) -> None:
    command = {"id": 1, "method": method, "params": COMMANDS[method]}

    def answer(thread: str) -> Any:
        found = estate.server.request("POST", f"/threads/{thread}/commands", command, headers=BOB)
        return json.loads(found.body().decode().replace(thread, "<thread>"))

    foreign = answer(estate.ids["thread_id"])
    assert foreign["type"] == "error"
    if method != "run.start":  # which makes a thread that is not there
        assert foreign == answer(str(uuid4()))


def test_no_socket_shows_somebody_elses_thread(estate: Estate) -> None:
    url = f"ws://127.0.0.1:{estate.server.port}/threads/{estate.ids['thread_id']}/stream/events"
    with connect(url, additional_headers=BOB) as socket:
        assert "not found" in json.loads(socket.recv(10))["message"]
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4404


IN_BODIES: dict[str, tuple[str, Callable[[dict[str, str]], Any], int]] = {
    "prune": ("/threads/prune", lambda ids: {"thread_ids": [ids["thread_id"]]}, 404),
    "cancel": (
        "/runs/cancel",
        lambda ids: {"thread_id": ids["thread_id"], "run_ids": [ids["run_id"]]},
        404,
    ),
    "cancel all": ("/runs/cancel", lambda ids: {"status": "all"}, 404),
    "run": ("/runs/wait", lambda ids: {**RUN, "assistant_id": ids["assistant_id"]}, 404),
    "stream": ("/runs/stream", lambda ids: {**RUN, "assistant_id": ids["assistant_id"]}, 404),
    "batch": ("/runs/batch", lambda ids: [RUN, {**RUN, "assistant_id": ids["assistant_id"]}], 404),
    "cron": ("/runs/crons", lambda ids: {**CRON, "assistant_id": ids["assistant_id"]}, 404),
    "thread": ("/threads", lambda ids: {"thread_id": ids["thread_id"]}, 409),
    "same thread": (
        "/threads",
        lambda ids: {"thread_id": ids["thread_id"], "if_exists": "do_nothing"},
        409,
    ),
    "past": (
        "/threads",
        lambda ids: {
            "thread_id": ids["thread_id"],
            "if_exists": "do_nothing",
            "metadata": {"graph_id": "echo"},
            "supersteps": [{"updates": [{"values": {"x": 1}, "as_node": "a"}]}],
        },
        409,
    ),
    "same assistant": (
        "/assistants",
        lambda ids: {
            "assistant_id": ids["assistant_id"],
            "graph_id": "echo",
            "if_exists": "do_nothing",
        },
        409,
    ),
}


@pytest.mark.parametrize("what", IN_BODIES)
def test_an_id_in_a_body_opens_nothing_either(estate: Estate, what: str) -> None:
    path, body, status = IN_BODIES[what]
    answer = estate.server.request("POST", path, body(estate.ids), headers=BOB)
    assert (answer.status, b"secret" in answer.body()) == (status, False)


async def test_searches_find_what_is_ones_own(estate: Estate) -> None:
    alice, bob = (get_client(url=estate.server.url, headers=headers) for headers in (ALICE, BOB))
    ids = estate.ids
    assert [one["thread_id"] for one in await alice.threads.search(ids=[ids["thread_id"]])]
    assert await bob.threads.search(ids=[ids["thread_id"]]) == []
    assert await bob.threads.search(metadata={"secret": "of alice"}) == []
    assert await bob.threads.count(metadata={"secret": "of alice"}) == 0
    assert await alice.threads.count(metadata={"secret": "of alice"}) >= 1
    assert await bob.assistants.search(name="alices") == []
    assert await bob.assistants.count(name="alices") == 0
    assert await bob.crons.search() == []
    assert await bob.crons.count() == 0
    assert [cron["cron_id"] for cron in await alice.crons.search()] == [ids["cron_id"]]


async def test_everybody_has_what_he_makes_and_may_run_the_graphs(estate: Estate) -> None:
    bob = get_client(url=estate.server.url, headers=BOB)
    thread = (await bob.threads.create())["thread_id"]
    await bob.runs.wait(thread, "echo", input={"x": 1})
    assert (await bob.threads.get(thread))["values"] == {"x": 1, "log": ["a", "b"]}
    await bob.threads.update(thread, metadata={"k": 1})
    copied: Any = await bob.threads.copy(thread)
    assert (await bob.threads.get(copied["thread_id"]))["metadata"]["k"] == 1
    assert await bob.threads.get_history(thread)
    await bob.threads.update_state(thread, {"x": 2})
    assert len(await bob.runs.list(thread)) == 1
    await bob.threads.delete(thread)
    with pytest.raises(NotFoundError):
        await bob.threads.get(thread)
    assistant = (await bob.assistants.create("echo"))["assistant_id"]
    assert (await bob.assistants.update(assistant, name="n"))["version"] == 2
    await bob.assistants.set_latest(assistant, 1)
    assert (await bob.assistants.get(assistant))["version"] == 1
    await bob.assistants.delete(assistant, delete_threads=True)


async def test_a_thread_that_a_run_makes_is_the_callers(estate: Estate) -> None:
    bob = get_client(url=estate.server.url, headers=BOB)
    thread = str(uuid4())
    await bob.runs.wait(thread, "echo", input={}, if_not_exists="create")
    assert (await bob.threads.get(thread))["thread_id"] == thread
    run = {**RUN, "if_not_exists": "create"}
    assert estate.server.request("POST", f"/threads/{thread}/runs", run, headers=ALICE).status == 404


def test_the_stream_of_a_stateless_run_goes_on_for_who_made_it_alone(estate: Estate) -> None:
    server = estate.server
    stream = server.request("POST", "/runs/stream", RUN, headers=ALICE)
    location = str(stream.header("location"))
    frames = stream.rest()
    again = server.request("GET", location, headers={**ALICE, "Last-Event-ID": frames[0].id})
    assert [frame.id for frame in again.rest()] == [frame.id for frame in frames[1:]]
    for path in (location, re.sub(r"^/threads/[^/]+", "", location)):
        refused = server.request("GET", path, headers={**BOB, "Last-Event-ID": frames[0].id})
        assert refused.status == 404


def test_nobody_cancels_a_run_of_somebody_else_before_it_comes(estate: Estate) -> None:
    server, run_id = estate.server, str(uuid4())
    thread = server.request("POST", "/threads", {}, headers=ALICE).json()["thread_id"]
    path = f"/threads/{thread}/runs/{run_id}/cancel"
    assert server.request("POST", path, headers=BOB).status == 404
    made = server.request("POST", f"/threads/{thread}/runs/wait", {**RUN, "run_id": run_id}, headers=ALICE)
    assert made.json()["log"] == ["a", "b"]


def test_a_thread_that_became_somebody_elses_is_not_shown_to_who_watched_it_before(
    estate: Estate,
) -> None:
    server, thread = estate.server, str(uuid4())
    watched = server.request(
        "POST", f"/threads/{thread}/stream/events", {"channels": ["values"]}, headers=BOB
    )
    assert watched.status == 200
    run = {**RUN, "input": {"x": "secret"}, "if_not_exists": "create"}
    assert server.request("POST", f"/threads/{thread}/runs/wait", run, headers=ALICE).status == 200
    assert b"secret" not in b"".join(watched.chunks())
    assert watched.ended_by in ("cut", "reset")


def test_who_may_only_read_stops_no_run_by_leaving(estate: Estate) -> None:
    ids = estate.ids
    path = f"/threads/{ids['thread_id']}/runs/{ids['run_id']}/stream?cancel_on_disconnect=true"
    assert estate.server.request("GET", path, headers=BOB).status == 404
    assert estate.server.request("GET", path, headers=ALICE).status == 200


# ----------------------------------------------------------------------------------------------- the store


async def test_everybody_has_a_store_of_his_own(estate: Estate) -> None:
    alice, bob = (get_client(url=estate.server.url, headers=headers) for headers in (ALICE, BOB))
    await alice.store.put_item(["alice", "notes"], key="k", value={"v": "secret"})
    found: Any = await alice.store.get_item(["alice", "notes"], key="k")
    assert found["value"] == {"v": "secret"}
    assert (await alice.store.search_items(["alice"]))["items"]
    assert (await alice.store.list_namespaces())["namespaces"] == [["alice", "notes"]]
    everything: Any = await bob.store.search_items([])
    assert everything["items"] == []
    assert (await bob.store.list_namespaces())["namespaces"] == []
    for call in (
        bob.store.get_item(["alice", "notes"], key="k"),
        bob.store.search_items(["alice"]),
        bob.store.list_namespaces(prefix=["alice"]),
        bob.store.put_item(["alice", "notes"], key="k", value={}),
        bob.store.delete_item(["alice", "notes"], key="k"),
    ):
        with suppress(PermissionDeniedError):
            assert "secret" not in str(await call)
    assert await alice.store.get_item(["alice", "notes"], key="k") == found
    await alice.store.delete_item(["alice", "notes"], key="k")


async def test_a_taken_id_is_a_conflict_also_for_the_sdk(estate: Estate) -> None:
    bob = get_client(url=estate.server.url, headers=BOB)
    with pytest.raises(ConflictError):
        await bob.threads.create(thread_id=estate.ids["thread_id"], if_exists="do_nothing")
