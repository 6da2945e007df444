"""The state of threads on the wire: read, look back, change (contract/resources.md 5)."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from fix_gate import Gate
from fix_server import Server

KEYS = [
    "values",
    "next",
    "tasks",
    "metadata",
    "created_at",
    "checkpoint",
    "parent_checkpoint",
    "interrupts",
    "checkpoint_id",
    "parent_checkpoint_id",
]
UNKNOWN = "1f1e6750-0e75-641a-8001-69bc44ca9b7e"


@pytest.fixture
def thread(server: Server) -> str:
    """A thread that has run: its log is ["a", "b"]."""
    thread = server.new_thread()
    server.wait("echo", {"x": 1}, thread)
    return thread


@pytest.fixture
def asking(server: Server) -> str:
    """A thread that waits for an answer, two subgraphs down."""
    thread = server.new_thread()
    server.wait("nest", {}, thread)
    return thread


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def state(server: Server, thread: str, query: str = "") -> Any:
    return server.get(f"/threads/{thread}/state{query}")


def update(server: Server, thread: str, values: Any, **fields: Any) -> Any:
    return server.post(f"/threads/{thread}/state", {"values": values, **fields})


def history(server: Server, thread: str, **fields: Any) -> Any:
    return server.post(f"/threads/{thread}/history", {"limit": 100, **fields})


def refused(server: Server, status: int, method: str, path: str, body: Any = None) -> str:
    response = server.request(method, path, body)
    found = response.json()
    assert response.status == status, found
    assert list(found) == ["detail"]
    return str(found["detail"])


def innermost(found: Any) -> Any:
    """The state of the subgraph that has no task with a state of its own."""
    nested = [task["state"] for task in found["tasks"] if task["state"]]
    return innermost(nested[0]) if nested else found


# ---------------------------------------------------------------- reading
def test_a_state_has_the_keys_of_the_contract_in_their_order(server: Server, thread: str) -> None:
    found = state(server, thread)
    assert list(found) == KEYS
    assert found["values"] == {"x": 1, "log": ["a", "b"]}
    assert found["checkpoint"] == {
        "checkpoint_id": found["checkpoint_id"],
        "thread_id": thread,
        "checkpoint_ns": "",
    }
    assert found["metadata"]["source"] == "loop"


def test_a_task_has_the_keys_of_the_contract_in_their_order(server: Server, asking: str) -> None:
    (task,) = state(server, asking)["tasks"]
    names = ["id", "name", "path", "error", "interrupts", "checkpoint", "state", "result"]
    assert list(task) == names
    assert task["path"] == ["__pregel_pull", "child"]
    assert task["checkpoint"] == {"thread_id": asking, "checkpoint_ns": f"child:{task['id']}"}
    assert [list(interrupt) for interrupt in task["interrupts"]] == [["id", "value"]]


def test_a_thread_that_never_ran_has_an_empty_state(server: Server) -> None:
    found = state(server, server.new_thread())
    assert found == dict.fromkeys(KEYS) | {"values": {}, "next": [], "tasks": [], "interrupts": []}


def test_a_place_that_was_asked_for_by_name_is_shown_also_when_it_is_empty(server: Server) -> None:
    thread = server.new_thread()
    found = server.post(f"/threads/{thread}/state/checkpoint", {"checkpoint": {"thread_id": thread}})
    assert found["checkpoint"] == {"checkpoint_id": None, "thread_id": thread, "checkpoint_ns": ""}
    assert (found["metadata"], found["values"]) == ({}, {})


def test_the_state_of_a_thread_whose_graph_is_gone_is_404(server: Server) -> None:
    for graph_id in ("nobody", ["nobody"], 5):
        thread = server.post("/threads", {"metadata": {"graph_id": graph_id}})["thread_id"]
        assert "nobody" in refused(server, 404, "GET", f"/threads/{thread}/state") or graph_id == 5


def test_an_old_state_is_read_by_its_id_in_both_ways(server: Server, thread: str) -> None:
    old = history(server, thread)[1]
    assert (old["values"], old["next"]) == ({"x": 1, "log": ["a"]}, ["b"])
    assert server.get(f"/threads/{thread}/state/{old['checkpoint_id'].upper()}") == old
    asked = {"checkpoint": {"checkpoint_id": old["checkpoint_id"], "checkpoint_map": None}}
    assert server.post(f"/threads/{thread}/state/checkpoint", asked) == old


def test_an_empty_checkpoint_means_the_latest(server: Server, thread: str) -> None:
    latest = state(server, thread)
    for checkpoint in ({}, {"thread_id": str(uuid4())}, {"checkpoint_id": None, "checkpoint_ns": ""}):
        assert server.post(f"/threads/{thread}/state/checkpoint", {"checkpoint": checkpoint}) == latest


def test_the_states_of_subgraphs_are_nested_in_their_tasks(server: Server, asking: str) -> None:
    found = state(server, asking, "?subgraphs=true")
    (task,) = found["tasks"]
    assert task["checkpoint"] is None
    leaf = innermost(found)
    assert list(leaf) == KEYS
    assert (leaf["values"], leaf["next"]) == ({"t": "deep tok"}, ["ask"])
    assert set(leaf["checkpoint"]["checkpoint_map"]) == {
        "",
        task["state"]["checkpoint"]["checkpoint_ns"],
        leaf["checkpoint"]["checkpoint_ns"],
    }


def test_a_namespace_reads_the_latest_state_of_its_subgraph(server: Server, asking: str) -> None:
    leaf = innermost(state(server, asking, "?subgraphs=true"))
    asked = {"checkpoint": {"checkpoint_ns": leaf["checkpoint"]["checkpoint_ns"]}}
    assert server.post(f"/threads/{asking}/state/checkpoint", asked) == leaf


def test_a_subgraph_that_has_not_begun_has_an_empty_state(server: Server) -> None:
    thread = server.new_thread()
    server.wait("subg", {"topic": "ice"}, thread, interrupt_before=["child"])
    (task,) = state(server, thread, "?subgraphs=true")["tasks"]
    assert task["state"]["values"] == {}
    assert task["state"]["checkpoint"] == {
        "checkpoint_id": None,
        "thread_id": thread,
        "checkpoint_ns": f"child:{task['id']}",
    }


@pytest.mark.parametrize("query", ["?select=next&select=values.log", "?select=next,values.log"])
def test_select_shows_only_what_was_asked_for(server: Server, thread: str, query: str) -> None:
    expected = {"values": {"log": ["a", "b"]}, "next": []}
    assert state(server, thread, query) == expected
    select = ["next", "values.log", "values.nothing"]
    asked = {"checkpoint": {}, "select": select}
    assert server.post(f"/threads/{thread}/state/checkpoint", asked) == expected
    assert history(server, thread, select=select, limit=1) == [expected]
    assert server.get(f"/threads/{thread}/history{query}") == [expected]
    at = state(server, thread)["checkpoint_id"]
    assert server.get(f"/threads/{thread}/state/{at}{query}") == expected


def test_all_values_and_one_of_them_are_all_values(server: Server, thread: str) -> None:
    found = history(server, thread, limit=1, select=["values.x", "values"])
    assert found == [{"values": {"x": 1, "log": ["a", "b"]}}]


def test_the_state_is_read_while_a_run_is_under_way(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    thread = server.new_thread()
    stream = server.stream("gate", graph_input, thread, durability="sync")
    node = gate.node(graph_input)
    assert state(server, thread)["next"] == ["speak"]
    node.finish()
    stream.rest()
    assert state(server, thread)["next"] == []


# ---------------------------------------------------------------- history
def test_history_is_newest_first_and_one_by_default(server: Server, thread: str) -> None:
    found = history(server, thread)
    assert [entry["next"] for entry in found] == [[], ["b"], ["a"], ["__start__"]]
    assert [entry["parent_checkpoint_id"] for entry in found[:-1]] == [
        entry["checkpoint_id"] for entry in found[1:]
    ]
    assert found[-1]["parent_checkpoint"] is None
    assert server.get(f"/threads/{thread}/history") == found[:1]
    assert server.post(f"/threads/{thread}/history", {}) == found[:1]
    assert server.get(f"/threads/{thread}/history?limit=3") == found[:3]
    assert server.get(f"/threads/{thread}/history?limit=0") == []


def test_every_form_of_before_works(server: Server, thread: str) -> None:
    found = history(server, thread)
    at = found[1]["checkpoint"]
    for before in (at["checkpoint_id"], at, {"configurable": at}):
        assert history(server, thread, before=before) == found[2:]
        assert history(server, thread, before=before, metadata={"step": -1}) == found[3:]
    assert server.get(f"/threads/{thread}/history?limit=9&before={at['checkpoint_id']}") == found[2:]


def test_a_long_history_comes_whole_and_in_order(server: Server) -> None:
    thread = server.post("/threads", {"metadata": {"graph_id": "echo"}})["thread_id"]
    for number in range(45):
        update(server, thread, {"x": number}, as_node="b")
    assert [entry["values"]["x"] for entry in history(server, thread)] == list(range(44, -1, -1))
    assert [entry["values"]["x"] for entry in history(server, thread, limit=41)] == list(range(44, 3, -1))


METADATA: list[tuple[Any, int]] = [
    ({"source": "input"}, 1),
    ({"source": "loop"}, 3),
    ({"source": "loop", "step": 0}, 1),
    ({"step": True}, 0),  # 1 is not true
    ({"parents": {}}, 4),
    ({"parents": {"": "x"}}, 0),
    ({"user_id": None}, 0),
    ({"nobody": None}, 0),
    ({'odd "key" $.x': 1.0}, 4),
    ({"'; DROP TABLE checkpoints; --": 1}, 0),
]


@pytest.fixture(scope="module")
def annotated(server: Server) -> str:
    thread = server.new_thread()
    server.wait("echo", {"x": 1}, thread, metadata={'odd "key" $.x': 1})
    return thread


@pytest.mark.parametrize(("metadata", "count"), METADATA, ids=lambda value: json.dumps(value))
def test_history_is_filtered_by_metadata(server: Server, annotated: str, metadata: Any, count: int) -> None:
    found = history(server, annotated, metadata=metadata)
    assert len(found) == count
    assert history(server, annotated, metadata=metadata, limit=1) == found[:1]


def test_a_subgraph_has_a_history_of_its_own(server: Server, asking: str) -> None:
    leaf = innermost(state(server, asking, "?subgraphs=true"))
    namespace = leaf["checkpoint"]["checkpoint_ns"]
    found = history(server, asking, checkpoint={"checkpoint_ns": namespace})
    assert [entry["next"] for entry in found] == [["ask"], ["leaf"], ["__start__"]]
    assert {entry["checkpoint"]["checkpoint_ns"] for entry in found} == {namespace}
    assert history(server, asking, checkpoint={"checkpoint_ns": namespace}, metadata={"step": 0}) == [
        found[1]
    ]
    assert history(server, asking, checkpoint={"checkpoint_ns": "nobody:1"}) == []


def test_history_of_one_checkpoint_is_that_one(server: Server, thread: str) -> None:
    old = history(server, thread)[2]
    at = {"checkpoint_id": old["checkpoint_id"]}
    assert history(server, thread, checkpoint=at) == [old]
    assert history(server, thread, checkpoint=at, metadata={"source": "loop"}) == [old]
    assert history(server, thread, checkpoint={"checkpoint_id": UNKNOWN}) == []


def test_a_thread_that_never_ran_has_no_history(server: Server) -> None:
    thread = server.new_thread()
    assert server.get(f"/threads/{thread}/history") == history(server, thread) == []


def test_a_history_that_is_too_large_is_413(server: Server) -> None:
    thread = server.post("/threads", {"metadata": {"graph_id": "echo"}})["thread_id"]
    update(server, thread, {"x": "x" * 15_000_000}, as_node="b")
    for _ in range(5):
        update(server, thread, {"log": ["y"]}, as_node="b")
    path = f"/threads/{thread}/history"
    assert "limit" in refused(server, 413, "POST", path, {"limit": 10})
    assert len(history(server, thread, select=["values.log"])) == 6


# ---------------------------------------------------------------- changing
def test_an_update_is_a_new_checkpoint_and_the_threads_state(server: Server, thread: str) -> None:
    before = server.get(f"/threads/{thread}")
    answer = update(server, thread, {"log": ["new"]})
    found, row = state(server, thread), server.get(f"/threads/{thread}")
    assert answer == {
        "checkpoint": found["checkpoint"],
        "configurable": found["checkpoint"],
        "checkpoint_id": found["checkpoint_id"],
    }
    assert found["values"] == row["values"] == {"x": 1, "log": ["a", "b", "new"]}
    assert found["metadata"] == {
        "graph_id": "echo",
        "thread_id": thread,
        "source": "update",
        "step": 3,
        "parents": {},
    }
    assert (row["status"], row["error"], row["interrupts"]) == ("idle", None, {})
    assert row["state_updated_at"] == row["updated_at"] > before["updated_at"]


def test_an_update_as_a_node_goes_on_behind_it(server: Server, thread: str) -> None:
    update(server, thread, {"log": ["as a"]}, as_node="a")
    assert state(server, thread)["next"] == ["b"]
    assert server.get(f"/threads/{thread}")["status"] == "interrupted"
    assert server.wait("echo", None, thread)["log"] == ["a", "b", "as a", "b"]


def test_an_update_as_start_begins_anew_and_null_as_end_finishes(server: Server, thread: str) -> None:
    update(server, thread, {"x": 2}, as_node="__start__")
    assert state(server, thread)["next"] == ["a"]
    update(server, thread, None, as_node="__end__")
    assert (state(server, thread)["next"], server.get(f"/threads/{thread}")["status"]) == ([], "idle")


def test_an_update_as_input_and_a_copy_have_their_sources(server: Server, thread: str) -> None:
    update(server, thread, {"x": 7}, as_node="__input__")
    assert (state(server, thread)["metadata"]["source"], state(server, thread)["next"]) == (
        "input",
        ["__start__"],
    )
    update(server, thread, None, as_node="__copy__")
    assert state(server, thread)["metadata"]["source"] == "fork"


def test_a_thread_that_never_ran_gets_its_graph_from_its_metadata(server: Server) -> None:
    thread = server.post("/threads", {"metadata": {"graph_id": "echo"}})["thread_id"]
    update(server, thread, {"x": 1}, as_node="a")
    assert server.wait("echo", None, thread) == {"x": 1, "log": ["b"]}


def test_a_thread_without_a_graph_cannot_be_updated(server: Server) -> None:
    thread = server.new_thread()
    text = refused(server, 400, "POST", f"/threads/{thread}/state", {"values": {"x": 1}})
    assert "graph_id" in text


@pytest.mark.parametrize("form", ["checkpoint", "checkpoint_id"])
def test_a_fork_from_an_old_checkpoint_is_the_latest_state(server: Server, thread: str, form: str) -> None:
    old = history(server, thread)[1]
    at = old["checkpoint"] if form == "checkpoint" else old["checkpoint_id"]
    update(server, thread, {"log": ["fork"]}, **{form: at})
    found = state(server, thread)
    assert found["values"]["log"] == server.get(f"/threads/{thread}")["values"]["log"] == ["a", "fork"]
    assert found["parent_checkpoint_id"] == old["checkpoint_id"]
    assert server.wait("echo", None, thread)["log"] == ["a", "fork", "b"]


def test_a_list_that_is_kept_as_changes_is_updated_and_forked(server: Server) -> None:
    thread = server.new_thread()
    server.wait("delta", {"log": ["in"]}, thread)
    update(server, thread, {"log": ["one"]})
    first = state(server, thread)
    update(server, thread, {"log": ["two"]})
    assert server.get(f"/threads/{thread}")["values"] == {"log": ["in", "work", "one", "two"]}
    assert state(server, thread)["values"] == {"log": ["in", "work", "one", "two"]}
    update(server, thread, {"log": ["fork"]}, checkpoint=first["checkpoint"])
    assert server.get(f"/threads/{thread}")["values"] == {"log": ["in", "work", "one", "fork"]}
    assert state(server, thread)["values"] == {"log": ["in", "work", "one", "fork"]}


def test_an_unknown_checkpoint_changes_nothing(server: Server, thread: str) -> None:
    before, row = history(server, thread), server.get(f"/threads/{thread}")
    body = {"values": {"log": ["lost"]}, "checkpoint": {"checkpoint_id": UNKNOWN}}
    assert UNKNOWN in refused(server, 404, "POST", f"/threads/{thread}/state", body)
    body = {"values": {"log": ["lost"]}, "checkpoint": {"checkpoint_ns": "child:1"}}
    assert refused(server, 404, "POST", f"/threads/{thread}/state", body)
    assert (history(server, thread), server.get(f"/threads/{thread}")) == (before, row)


def test_an_update_of_an_interrupted_thread_clears_its_interrupts(server: Server) -> None:
    thread = server.new_thread()
    server.wait("intr", {"x": "1"}, thread)
    assert server.get(f"/threads/{thread}")["interrupts"] != {}
    update(server, thread, {"x": "2"}, as_node="start")
    row = server.get(f"/threads/{thread}")
    assert (row["interrupts"], row["status"]) == ({}, "interrupted")
    assert state(server, thread)["interrupts"] == []
    asked = server.wait("intr", None, thread)
    assert asked["__interrupt__"][0]["value"] == {"question": "ok?", "x": "2"}


def test_an_update_of_a_failed_thread_clears_its_error(server: Server) -> None:
    thread = server.new_thread()
    server.wait("boom", {"how": "first"}, thread)
    assert server.get(f"/threads/{thread}")["status"] == "error"
    update(server, thread, {"how": "well"}, as_node="__start__")
    row = server.get(f"/threads/{thread}")
    assert (row["status"], row["error"]) == ("interrupted", None)


def test_an_update_of_a_subgraph_leaves_the_threads_row_to_its_root(server: Server, asking: str) -> None:
    before = server.get(f"/threads/{asking}")
    leaf = innermost(state(server, asking, "?subgraphs=true"))
    answer = update(server, asking, {"t": "patched"}, checkpoint=leaf["checkpoint"], as_node="leaf")
    namespace = leaf["checkpoint"]["checkpoint_ns"]
    assert answer["checkpoint"]["checkpoint_ns"] == namespace
    assert answer["checkpoint"]["checkpoint_map"][namespace] == answer["checkpoint_id"]
    row = server.get(f"/threads/{asking}")
    for key in ("values", "interrupts", "status"):
        assert row[key] == before[key]
    assert row["state_updated_at"] > before["state_updated_at"]
    patched = innermost(state(server, asking, "?subgraphs=true"))
    assert patched["values"] == {"t": "patched"}
    assert patched["metadata"]["checkpoint_ns"] == namespace


def test_a_run_goes_on_from_the_updated_state_of_its_subgraph(server: Server, asking: str) -> None:
    namespace = innermost(state(server, asking, "?subgraphs=true"))["checkpoint"]["checkpoint_ns"]
    update(server, asking, {"t": "patched"}, checkpoint={"checkpoint_ns": namespace}, as_node="leaf")
    server.wait("nest", None, asking, command={"resume": "one"})
    done = server.wait("nest", None, asking, command={"resume": "two"})
    assert done == {"t": "patched", "a": "one", "b": "two"}


@pytest.mark.parametrize(
    ("values", "fields", "part"),
    [
        ({"log": ["x"]}, {"as_node": "nobody"}, "Node nobody does not exist"),
        ([1, 2], {"as_node": "a"}, "Expected dict"),
        ({"log": 5}, {"as_node": "a"}, "TypeError"),
        (
            {"x": 1},
            {"checkpoint": {"checkpoint_ns": "", "checkpoint_id": None}, "as_node": "__copy"},
            "__copy",
        ),
    ],
)
def test_what_the_graph_does_not_take_is_400_and_changes_nothing(
    server: Server, thread: str, values: Any, fields: Any, part: str
) -> None:
    before = history(server, thread)
    body = {"values": values, **fields}
    assert part in refused(server, 400, "POST", f"/threads/{thread}/state", body)
    assert history(server, thread) == before


@pytest.mark.parametrize(("how", "part"), [("fail", "no way from here"), ("exit", "SystemExit")])
def test_an_edge_that_fails_in_an_update_is_400_and_stops_nothing(
    server: Server, how: str, part: str
) -> None:
    thread = server.new_thread()
    server.wait("edges", {}, thread)
    body = {"values": {"how": how}, "as_node": "work"}
    assert part in refused(server, 400, "POST", f"/threads/{thread}/state", body)
    assert state(server, thread)["values"] == {"log": ["work"]}


def test_a_message_is_added_by_its_reducer(server: Server) -> None:
    thread = server.new_thread()
    server.wait("chat", {"messages": "hi"}, thread)
    update(server, thread, {"messages": [{"role": "user", "content": "and now?"}]})
    messages = state(server, thread)["values"]["messages"]
    assert [message["content"] for message in messages][-1] == "and now?"
    assert messages[-1]["id"]


def test_an_update_is_told_to_the_stream_of_the_thread(server: Server, thread: str) -> None:
    stream = server.request("GET", f"/threads/{thread}/stream?stream_modes=state_update")
    update(server, thread, {"log": ["told"]})
    frame = stream.next("state_update")
    assert frame.data == {"state": state(server, thread), "thread_id": thread}
    stream.reset()


# ---------------------------------------------------------------- beside others
def test_a_busy_thread_is_not_updated_and_the_text_names_no_run(server: Server, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    stream = server.stream("gate", graph_input, thread)
    run_id = stream.next("metadata").data["run_id"]
    node = gate.node(graph_input)
    text = refused(server, 409, "POST", f"/threads/{thread}/state", {"values": {"out": "x"}})
    assert thread in text
    assert run_id not in text
    node.finish()
    stream.rest()
    update(server, thread, {"out": "x"})
    assert state(server, thread)["values"]["out"] == "x"


def test_of_fifty_updates_at_once_none_is_lost(
    server: Server, thread: str, beside: ThreadPoolExecutor
) -> None:
    names = [f"u{number}" for number in range(50)]
    list(beside.map(lambda name: update(server, thread, {"log": [name]}, as_node="b"), names))
    log = state(server, thread)["values"]["log"]
    assert log[:2] == ["a", "b"]
    assert sorted(log[2:]) == sorted(names)
    assert server.get(f"/threads/{thread}")["values"]["log"] == log
    found = history(server, thread)
    parents = [entry["parent_checkpoint_id"] for entry in found]
    assert parents[:-1] == [entry["checkpoint_id"] for entry in found[1:]]


def slow_update(
    server: Server, gate: Gate, beside: ThreadPoolExecutor, thread: str
) -> tuple[Any, Future[Any]]:
    """An update that has read the state and waits in an edge; and what will be answered to it."""
    graph_input = gate.input(how="wait", log=["late"])
    body = {"values": graph_input, "as_node": "work"}
    answer = beside.submit(lambda: server.request("POST", f"/threads/{thread}/state", body))
    return graph_input, answer


def test_a_run_that_begins_during_an_update_is_not_disturbed(
    server: Server, gate: Gate, beside: ThreadPoolExecutor
) -> None:
    thread = server.new_thread()
    server.wait("edges", {}, thread)
    late, answer = slow_update(server, gate, beside, thread)
    edge = gate.node(late)
    graph_input = gate.input(how="wait")
    run = server.stream("edges", graph_input, thread)
    running = gate.node(graph_input)
    edge.finish()
    assert answer.result().status == 409
    running.finish()
    run.rest()
    assert state(server, thread)["values"]["log"] == ["work", "work"]
    assert server.get(f"/threads/{thread}")["status"] == "idle"
    sources = [entry["metadata"]["source"] for entry in history(server, thread)]
    assert "update" not in sources


def test_an_update_that_a_whole_run_overtook_is_made_on_top_of_it(
    server: Server, gate: Gate, beside: ThreadPoolExecutor
) -> None:
    thread = server.new_thread()
    server.wait("edges", {"log": ["first"]}, thread)
    late, answer = slow_update(server, gate, beside, thread)
    edge = gate.node(late)
    server.wait("edges", {"log": ["second"]}, thread)
    edge.finish()
    gate.node(late).finish()  # it is computed again
    assert answer.result().status == 200
    expected = ["first", "work", "second", "work", "late"]
    assert state(server, thread)["values"]["log"] == expected
    assert server.get(f"/threads/{thread}")["values"]["log"] == expected


def test_a_thread_that_is_deleted_during_an_update_stays_deleted(
    server: Server, gate: Gate, beside: ThreadPoolExecutor
) -> None:
    thread = server.new_thread()
    server.wait("edges", {}, thread)
    late, answer = slow_update(server, gate, beside, thread)
    edge = gate.node(late)
    assert server.request("DELETE", f"/threads/{thread}").status == 204
    edge.finish()
    assert answer.result().status == 404
    assert server.post("/threads", {"thread_id": thread, "metadata": {"graph_id": "edges"}})
    assert history(server, thread) == []


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("method", "path", "body", "part"),
    [
        ("GET", "state/nothing", None, "checkpoint ID"),
        ("GET", "state?select=nothing", None, "select"),
        ("GET", "state?select=values.", None, "select"),
        ("GET", "state?subgraphs=perhaps", None, "subgraphs"),
        ("GET", "history?limit=x", None, "limit"),
        ("GET", "history?limit=-1", None, "limit"),
        ("GET", "history?limit=1001", None, "limit"),
        ("GET", "history?before=x", None, "before"),
        ("POST", "history", {"limit": 0}, "limit"),
        ("POST", "history", {"limit": 1001}, "limit"),
        ("POST", "history", {"limit": "5"}, "limit"),
        ("POST", "history", {"before": "x"}, "before"),
        ("POST", "history", {"before": {}}, "before"),
        ("POST", "history", {"before": {"configurable": 5}}, "before"),
        ("POST", "history", {"before": {"checkpoint_id": 5}}, "before"),
        ("POST", "history", {"metadata": []}, "metadata"),
        ("POST", "history", {"metadata": {"x": "x" * 70_000}}, "metadata"),
        ("POST", "history", {"checkpoint": "x"}, "checkpoint"),
        ("POST", "history", {"select": ["nothing"]}, "select"),
        ("POST", "history", {"select": ["next"] * 1_001}, "select"),
        ("POST", "state/checkpoint", {}, "checkpoint"),
        ("POST", "state/checkpoint", {"checkpoint": None}, "checkpoint"),
        ("POST", "state/checkpoint", {"checkpoint": {"checkpoint_id": "x"}}, "checkpoint_id"),
        ("POST", "state/checkpoint", {"checkpoint": {"checkpoint_ns": 5}}, "checkpoint_ns"),
        ("POST", "state/checkpoint", {"checkpoint": {}, "subgraphs": "yes"}, "subgraphs"),
        ("POST", "state", {"values": "x"}, "values"),
        ("POST", "state", {"values": 5}, "values"),
        ("POST", "state", {"values": {}, "as_node": 5}, "as_node"),
        ("POST", "state", {"values": {}, "as_node": ""}, "as_node"),
        ("POST", "state", {"values": {}, "as_node": "x" * 1_001}, "as_node"),
        ("POST", "state", {"values": {}, "checkpoint_id": "x"}, "checkpoint_id"),
    ],
)
def test_what_breaks_a_rule_is_422_and_names_the_field(
    server: Server, thread: str, method: str, path: str, body: Any, part: str
) -> None:
    assert part in refused(server, 422, method, f"/threads/{thread}/{path}", body)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "state", None),
        ("GET", f"state/{UNKNOWN}", None),
        ("POST", "state/checkpoint", {"checkpoint": {}}),
        ("POST", "state", {"values": {}}),
        ("GET", "history", None),
        ("POST", "history", {}),
    ],
)
def test_an_unknown_thread_is_404(server: Server, method: str, path: str, body: Any) -> None:
    thread = str(uuid4())
    assert refused(server, 404, method, f"/threads/{thread}/{path}", body) == (
        f"Thread with ID {thread} not found"
    )


def test_an_unknown_checkpoint_is_404(server: Server, thread: str) -> None:
    for found in (thread, server.new_thread()):
        assert UNKNOWN in refused(server, 404, "GET", f"/threads/{found}/state/{UNKNOWN}")
        body = {"checkpoint": {"checkpoint_id": UNKNOWN}}
        assert UNKNOWN in refused(server, 404, "POST", f"/threads/{found}/state/checkpoint", body)


def test_a_checkpoint_of_another_thread_is_404(server: Server, thread: str) -> None:
    other = server.new_thread()
    server.wait("echo", {"x": 2}, other)
    foreign = state(server, other)["checkpoint_id"]
    refused(server, 404, "GET", f"/threads/{thread}/state/{foreign}")
    refused(server, 404, "POST", f"/threads/{thread}/state", {"values": {}, "checkpoint_id": foreign})
