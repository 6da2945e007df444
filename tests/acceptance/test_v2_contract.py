"""Points of contract/protocol-v2.md, in its order, that no other file tells of."""

import json
from typing import Any
from uuid import uuid4

import pytest
from fix_gate import Gate
from fix_server import RunningServer, Server, stop
from fix_v2 import (
    ask,
    begin,
    checked,
    command,
    endings,
    ends_run,
    new_id,
    of,
    replay,
    run,
    seq,
    subscribe,
    texts,
    until,
    watching,
)
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

HI = {"messages": [{"role": "user", "content": "hi"}]}


def does(*steps: dict[str, Any]) -> dict[str, Any]:
    """The input of a graph that does this (graphs/puppet.py)."""
    return {"messages": [{"role": "user", "content": "hi"}], "steps": list(steps)}


def calls(name: str, **args: Any) -> dict[str, Any]:
    call = {"name": name, "args": json.dumps(args), "id": "call_1", "index": 0}
    return {"do": "say", "pieces": [{"calls": [call]}]}


# ------------------------------------------------------------------------------------ 2 commands


def test_what_a_server_does_not_know_is_passed_over(server: Server) -> None:
    thread = new_id()
    more = {
        "langsmith_tracer": {"project_name": "p"},
        "langsmith_tracing": None,
        "strict_resume": True,
        "x": 1,
    }
    assistant = server.post("/assistants/search", {"graph_id": "echo"})[0]["assistant_id"]
    events = run(server, assistant, {}, thread, config=None, metadata=None, multitask_strategy=None, **more)
    assert endings(events) == ["completed"]
    body = {"id": 2**53, "method": "agent.getTree", "params": None, "extra": 1}
    assert server.post(f"/threads/{thread}/commands", body)["id"] == 2**53


def test_a_run_without_an_input_needs_a_thread_that_has_one(server: Server) -> None:
    [_, failed] = of(run(server, "echo", None), "lifecycle", [])
    assert failed["event"] == "failed"
    assert "__start__" in failed["error"]


GOTO = ["finish", ["finish"], {"node": "finish", "input": {"log": []}}, [{"node": "finish", "input": {}}]]


@pytest.mark.parametrize("goto", GOTO, ids=json.dumps)
def test_an_answer_may_say_where_to_go(server: Server, goto: Any) -> None:
    thread = new_id()
    [asked] = of(run(server, "intr", {"x": "1"}, thread), "input.requested")
    with watching(server, thread, since=seq(server, thread)) as events:
        answer = {"namespace": ["of:another"], "interrupt_id": asked["interrupt_id"], "response": "yes"}
        ask(server, thread, "input.respond", **answer, goto=goto, strict_resume=True, config={"tags": ["t"]})
        seen = until(events)
    assert endings(seen) == ["completed"]
    assert {"ask:yes", "finish"} <= set(of(seen, "values", [])[-1]["log"])


def test_a_fork_needs_a_checkpoint_that_is_there(server: Server) -> None:
    thread = new_id()
    run(server, "echo", {}, thread)
    found = command(server, thread, "state.fork", checkpoint_id=str(uuid4()))
    assert (found["type"], found["error"]) == ("error", "no_such_checkpoint")


def test_there_are_checkpoints_to_page_through(server: Server) -> None:
    thread = new_id()
    run(server, "echo", {}, thread)
    found = ask(server, thread, "state.listCheckpoints", limit=50)["checkpoints"]
    assert [state["step"] for state in found] == [2, 1, 0, -1]
    rest = ask(server, thread, "state.listCheckpoints", before=found[1]["id"])["checkpoints"]
    assert rest == found[2:]


# ------------------------------------------------------------------------------------ 3 envelope


def test_no_two_events_of_a_thread_have_the_same_id(server: Server) -> None:
    thread = new_id()
    for _ in range(2):
        run(server, "tools", HI, thread)
    events = replay(server, thread, runs=2)
    ids = [event["event_id"] for event in events]
    assert len(set(ids)) == len(ids)
    runs = [each["run_id"] for each in server.get(f"/threads/{thread}/runs")]
    own = [e["event_id"] for e in events if e["method"] == "lifecycle" and not e["params"]["namespace"]]
    assert [name.split(":")[:2] for name in own] == [["synth", runs[1]]] * 2 + [["synth", runs[0]]] * 2


# ------------------------------------------------------------------------------------ 4 subscriptions


def test_a_stream_is_not_to_be_stored_or_gathered_on_the_way(server: Server) -> None:
    response = subscribe(server, new_id())
    assert response.header("content-type") == "text/event-stream; charset=utf-8"
    assert "no-store" in (response.header("cache-control") or "")
    assert response.header("x-accel-buffering") == "no"
    response.reset()


def test_the_later_of_two_places_counts(server: Server) -> None:
    thread = new_id()
    live = run(server, "echo", {}, thread)
    for since, last in ((2, 5), (5, 2)):
        body = {
            "channels": ["values", "lifecycle", "updates", "checkpoints", "tasks"],
            "since": live[since]["seq"],
        }
        headers = {"Last-Event-ID": str(live[last]["seq"])}
        response = server.request("POST", f"/threads/{thread}/stream/events", body, headers=headers)
        assert until(checked(response.frames())) == live[6:]
        response.reset()


def test_custom_events_have_channels_by_their_names(server: Server) -> None:
    thread = new_id()
    named = [{"name": "progress", "payload": 1}, {"name": "other", "payload": 2}, "of no name"]
    run(server, "puppet", does(*({"do": "write", "value": value} for value in named)), thread)
    assert of(replay(server, thread, channels=["custom", "lifecycle"]), "custom") == named
    assert of(replay(server, thread, channels=["custom:progress", "lifecycle"]), "custom") == named[:1]


@pytest.mark.embedded  # others keep logs in Redis
def test_a_log_that_is_gone_is_no_log(start_server: RunningServer, gate: Gate) -> None:
    """Nothing is replayed, clients read the state; what comes is told, and has greater numbers."""
    server = start_server(GRAPHWIRE_LOGS_BYTES_MAX="1")
    thread = new_id()
    with watching(server, thread, ["lifecycle"]) as events:
        begin(server, thread, "echo", {})
        before = until(events)
    held = gate.input()
    with watching(server, thread) as events:
        begin(server, thread, "gate", held)
        gate.node(held).finish()
        after = until(events)
    assert of(after, "lifecycle", [])[0]["graph_name"] == "gate"
    assert after[0]["seq"] > before[-1]["seq"]


def test_a_server_that_stops_breaks_the_stream_off(start_server: RunningServer, gate: Gate) -> None:
    """A clean end would be that of the run."""
    server = start_server(BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="1")
    held, thread = gate.input(), new_id()
    response = subscribe(server, thread)
    begin(server, thread, "gate", held)
    gate.node(held)
    stop(server)
    assert b"".join(response.chunks())
    assert response.ended_by in ("cut", "reset")


def test_sockets_open_nowhere_else(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{server.port}/threads/{new_id()}/stream")
    assert refused.value.response.status_code in (403, 404)


def test_a_socket_goes_on_after_the_last_event_that_it_had(server: Server) -> None:
    thread = new_id()
    live = run(server, "echo", {}, thread)
    with connect(f"ws://127.0.0.1:{server.port}/threads/{thread}/stream/events") as socket:
        params = {"run_id": "x", "last_event_id": str(live[3]["seq"]), "channels": ["values", "lifecycle"]}
        socket.send(json.dumps({"id": 1, "method": "subscription.reconnect", "params": params}))
        seen: list[Any] = []
        while not (seen and seen[-1]["type"] == "event" and ends_run(seen[-1])):
            seen.append(json.loads(socket.recv(20)))
    [answer] = [said for said in seen if said["type"] != "event"]
    assert answer["result"]["restored"] is True
    wanted = [event for event in live[4:] if event["method"] in ("values", "lifecycle")]
    assert [said for said in seen if said["type"] == "event"] == wanted


# ------------------------------------------------------------------------------------ 5 channels


@pytest.mark.parametrize("begun_by", ["v2", "v1"])
def test_a_tool_that_fails_is_told_of(server: Server, begun_by: str) -> None:
    thread, graph_input = new_id(), does(calls("explode"))
    if begun_by == "v2":
        run(server, "puppet", graph_input, thread)
    else:
        server.post("/threads", {"thread_id": thread})
        server.wait("puppet", graph_input, thread)
    events = replay(server, thread)
    assert of(events, "tools") == [
        {"event": "tool-started", "tool_call_id": "call_1", "tool_name": "explode", "input": {}},
        {"event": "tool-error", "tool_call_id": "call_1", "message": "tool exploded"},
    ]
    assert endings(events) == ["failed"]


def test_a_tool_may_tell_how_far_it_is(server: Server) -> None:
    told = of(run(server, "puppet", does(calls("count", to=2))), "tools")
    assert [data.get("delta") for data in told] == [None, 0, 1, None]
    assert told[-1]["output"]["content"] == "counted"


def test_updates_are_those_of_nodes_and_tasks_are_told_without_their_input(server: Server) -> None:
    events = run(server, "echo", {})
    assert of(events, "updates") == [{"a": {"log": ["a"]}}, {"b": {"log": ["b"]}}]
    tasks = of(events, "tasks")
    assert [(task["name"], task.get("result")) for task in tasks] == [
        ("a", None),
        ("a", {"log": ["a"]}),
        ("b", None),
        ("b", {"log": ["b"]}),
    ]
    assert not any("input" in task for task in tasks)


def test_messages_of_models_that_do_not_stream_come_whole(server: Server) -> None:
    step = {"do": "say", "pieces": ["all at ", "once"], "silent": True}
    events = run(server, "puppet", does(step))
    [key] = texts(events)
    told = [data["event"] for data in of(events, "messages")]
    assert told == [
        "message-start",
        "content-block-start",
        "content-block-delta",
        "content-block-finish",
        "message-finish",
    ]
    assert of(events, "values")[-1]["messages"][-1]["id"] == key


# ------------------------------------------------------------------------------------ 6 states


def test_who_hears_of_the_end_reads_the_final_state(server: Server) -> None:
    for number in range(5):
        thread = new_id()
        with watching(server, thread, ["lifecycle"]) as events:
            begin(server, thread, "echo", {"x": number})
            until(events)
            state = server.get(f"/threads/{thread}/state")
        assert (state["values"]["log"], state["next"]) == (["a", "b"], [])
        assert server.get(f"/threads/{thread}")["status"] == "idle"
