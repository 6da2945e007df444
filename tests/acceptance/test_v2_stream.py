"""Protocol v2 on the wire: what a stream tells, to whom, in which order (contract/protocol-v2.md 3-6, 11)."""

import itertools
import json
import random
import time
from typing import Any

import pytest
import wire
from fix_gate import Gate
from fix_server import RunningServer, Server
from fix_v2 import (
    ALL,
    begin,
    checked,
    endings,
    ends_run,
    new_id,
    of,
    replay,
    run,
    subscribe,
    texts,
    until,
    watching,
)

HI = {"messages": [{"role": "user", "content": "hi", "id": "mine"}]}


def ids(events: list[Any]) -> list[tuple[int, str, int]]:
    return [(event["seq"], event["event_id"], event["params"]["timestamp"]) for event in events]


# ---------------------------------------------------------------------------------- what is told of a run


def test_a_message_comes_in_blocks(server: Server) -> None:
    events = run(server, "chat", HI)
    said = of(events, "messages")
    first = [data for data in said if data["id"] == said[0]["id"]]
    assert [data["event"] for data in first] == [
        "message-start",
        "content-block-start",
        "content-block-delta",
        "content-block-delta",
        "content-block-finish",
        "message-finish",
    ]
    assert first[0]["role"] == "ai"
    assert first[1]["content"] == {"type": "text", "text": ""}
    assert first[4]["content"] == {"type": "text", "text": "Hello you"}
    assert first[5]["usage"] == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    assert all(data["run_id"] for data in said)
    assert {e["params"]["node"] for e in events if e["method"] == "messages"} == {"bot", "canned"}


def test_messages_have_the_ids_that_they_have_in_the_state(server: Server) -> None:
    events = run(server, "chat", HI)
    state = of(events, "values")[-1]["messages"]
    assert state[0]["id"] == "mine"
    for key, text in texts(events).items():
        assert [message["content"] for message in state if message["id"] == key] == [text]


def test_a_call_of_a_tool_comes_in_pieces_and_then_whole(server: Server) -> None:
    events = run(server, "tools", HI)
    blocks = [data for data in of(events, "messages") if data.get("index") == 0 and "content" in data]
    assert blocks[0]["content"]["type"] == "tool_call_chunk"
    assert blocks[1]["content"] == {
        "type": "tool_call",
        "id": "call_1",
        "name": "research",
        "args": {"q": "ice"},
    }
    assert [data["event"] for data in of(events, "tools")] == ["tool-started", "tool-finished"]


def test_what_a_tool_has_a_model_say_is_told_from_what_the_agent_says(server: Server) -> None:
    thread = new_id()
    events = run(server, "tools", HI, thread)
    said = {tuple(e["params"]["namespace"]) for e in events if e["method"] == "messages"}
    [within] = said - {()}
    assert [segment.partition(":")[0] for segment in within] == ["tools"]
    only = {"channels": ["messages", "lifecycle"], "namespaces": [["tools"], []], "depth": 0}
    assert replay(server, thread, **only) == [e for e in events if e["method"] in ("messages", "lifecycle")]
    for namespaces, text in (([list(within)], "inner answer"), ([["tools"]], "inner answer")):
        with watching(server, thread, ["messages"], namespaces=namespaces) as found:
            seen = until(found, lambda event: event["params"]["data"]["event"] == "message-finish")
        assert list(texts(seen).values()) == [text]


def test_subgraphs_begin_and_end(server: Server) -> None:
    events = run(server, "subg", {"topic": "ice"})
    told = [
        (event["params"]["data"]["event"], len(event["params"]["namespace"]))
        for event in events
        if event["method"] == "lifecycle"
    ]
    assert told == [("running", 0), ("started", 1), ("completed", 1), ("completed", 0)]
    [child] = {tuple(e["params"]["namespace"]) for e in events if e["params"]["namespace"]}
    started = of(events, "lifecycle", list(child))[0]
    assert started["graph_name"] == "child"
    assert child == (f"child:{started['trigger_call_id']}",)
    assert list(texts([e for e in events if e["params"]["namespace"] == list(child)]).values()) == ["sub tok"]


def test_every_state_comes_right_after_its_checkpoint(server: Server) -> None:
    thread = new_id()
    events = run(server, "subg", {"topic": "ice"}, thread)
    steps = [event for event in events if event["method"] in ("values", "checkpoints")]
    for before, event in itertools.pairwise(steps):
        if event["method"] == "values":
            assert before["method"] == "checkpoints"
            assert before["params"]["namespace"] == event["params"]["namespace"]
    history = server.post(f"/threads/{thread}/history", {"limit": 50})
    by_id = {state["checkpoint_id"]: state for state in history}
    root = [event["params"]["data"] for event in steps if event["params"]["namespace"] == []]
    for checkpoint, values in itertools.pairwise(root):
        if "source" in checkpoint and "source" not in values:
            assert by_id[checkpoint["id"]]["values"] == values
            assert by_id[checkpoint["id"]]["parent_checkpoint_id"] == checkpoint.get("parent_id")


def test_a_state_does_not_wait_long_for_a_checkpoint_that_does_not_come(server: Server) -> None:
    events = run(server, "subg", {"topic": "ice"}, durability="exit")
    assert of(events, "values", [])[-1]["done"] is True


def test_timestamps_are_of_when_it_happened(server: Server, gate: Gate) -> None:
    held, thread = gate.input(), new_id()
    before = time.time() * 1000
    begin(server, thread, "gate", held)
    node = gate.node(held)
    node.say("a")
    with watching(server, thread, ["messages"]) as events:
        until(events, lambda event: event["params"]["data"]["event"] == "content-block-delta")
        middle = time.time() * 1000
        until_later(middle)
        node.say("b")
        [second] = until(events, lambda event: True)
        node.finish()
    found = [event["params"]["timestamp"] for event in replay(server, thread)]
    assert found == sorted(found)
    assert before - 5 <= found[0] <= middle <= second["params"]["timestamp"] <= found[-1]
    assert all(isinstance(at, int) for at in found)


def until_later(at_ms: float) -> None:
    while time.time() * 1000 < at_ms + 30:
        pass


# ------------------------------------------------------------------------------------------- replay


def test_the_same_event_is_the_same_on_every_connection(server: Server) -> None:
    thread = new_id()
    live = run(server, "tools", HI, thread)
    assert ids(replay(server, thread)) == ids(live)
    assert replay(server, thread) == live


def test_a_filter_does_not_change_the_numbers(server: Server) -> None:
    thread = new_id()
    live = run(server, "subg", {"topic": "ice"}, thread)
    for channel in ALL:
        expected = [e for e in live if e["method"] in (channel, "lifecycle")]
        assert replay(server, thread, channels=[channel, "lifecycle"]) == expected, channel


def test_since_goes_on_after_any_event(server: Server) -> None:
    thread = new_id()
    live = run(server, "tools", HI, thread)
    for number in range(0, len(live) - 1, 5):
        assert replay(server, thread, since=live[number]["seq"]) == live[number + 1 :]


def test_all_runs_are_replayed_one_after_the_other(server: Server) -> None:
    thread = new_id()
    live = [*run(server, "chat", HI, thread), *run(server, "chat", HI, thread)]
    assert replay(server, thread, runs=2) == live


@pytest.mark.parametrize("seed", range(4))
def test_a_connection_that_is_cut_anywhere_loses_and_doubles_nothing(server: Server, seed: int) -> None:
    thread, chance = new_id(), random.Random(seed)
    live = run(server, "tools", HI, thread)
    seen: list[Any] = []
    while not seen or not ends_run(seen[-1]):
        fields = {"since": seen[-1]["seq"]} if seen else {}
        response = subscribe(server, thread, **fields)
        frames = wire.Frames()
        data = _some(response, chance.randrange(1, 4_000))
        response.reset()
        seen += [frame.data for frame in frames.feed(data)]
    assert seen == live


def _some(response: wire.Response, count: int) -> bytes:
    data = b""
    for chunk in response.chunks():
        data += chunk
        if len(data) >= count or b'"event":"completed","graph_name":"tools"' in data:
            break
    return data[:count]


def test_a_reader_without_headers_goes_on_by_itself(server: Server) -> None:
    """As a plain EventSource does."""
    thread = new_id()
    live = run(server, "chat", HI, thread)
    path = f"/threads/{thread}/stream/events"
    first = server.request("GET", path)
    frame = first.next_frame()
    assert (frame.data, frame.retry) == (live[0], "1000")
    first.reset()
    again = server.request("GET", path, headers={"Last-Event-ID": frame.id})
    assert until(checked(again.frames())) == live[1:]
    again.reset()
    only = server.request("GET", f"{path}?channels=values,lifecycle&namespaces=[[]]&depth=0")
    assert until(checked(only.frames())) == [e for e in live if e["method"] in ("values", "lifecycle")]
    only.reset()


def test_a_thread_that_is_not_there_yet_is_watched(server: Server) -> None:
    thread = new_id()
    with watching(server, thread) as events:
        assert server.request("GET", f"/threads/{thread}/state").status == 404
        begin(server, thread, "chat", HI)
        assert endings(until(events)) == ["completed"]
    assert server.get(f"/threads/{thread}")["metadata"]["graph_id"] == "chat"


# ------------------------------------------------------------------------------------- every ending


@pytest.mark.parametrize(("action", "expected"), [("interrupt", "interrupted"), ("rollback", "interrupted")])
def test_a_cancelled_run_has_an_ending(server: Server, gate: Gate, action: str, expected: str) -> None:
    held, thread = gate.input(), new_id()
    with watching(server, thread) as events:
        run_id = begin(server, thread, "gate", held)
        gate.node(held).say("half")
        until(events, lambda event: event["method"] == "messages")
        server.request("POST", f"/threads/{thread}/runs/{run_id}/cancel?action={action}").body()
        seen = until(events)
    assert endings(seen) == [expected]
    assert of(seen, "messages")[-1]["event"] == "message-finish"
    assert seen[-1]["event_id"].startswith(f"synth:{run_id}:")


def test_a_run_that_fails_has_an_ending(server: Server) -> None:
    events = run(server, "boom", {})
    last = events[-1]["params"]["data"]
    assert (last["event"], last["graph_name"]) == ("failed", "boom")
    assert last["error"].startswith("RuntimeError") or "exploded" in last["error"]
    assert of(events, "messages")[-1]["event"] == "error"


def test_a_run_that_takes_too_long_has_an_ending(start_server: RunningServer, gate: Gate) -> None:
    server = start_server(BG_JOB_TIMEOUT_SECS="1")
    held = gate.input()
    events = run(server, "gate", held)
    assert endings(events) == ["failed"]


def test_a_run_that_makes_way_has_an_ending(server: Server, gate: Gate) -> None:
    for spelling in ("multitask_strategy", "multitaskStrategy"):
        held, thread = gate.input(), new_id()
        with watching(server, thread, ["lifecycle"]) as events:
            first = begin(server, thread, "gate", held)
            gate.node(held)
            second = begin(server, thread, "echo", {}, **{spelling: "interrupt"})
            seen = until(events, times=2)
        told = [(e["event_id"].split(":")[1], e["params"]["data"]["event"]) for e in seen]
        assert told == [
            (first, "running"),
            (first, "interrupted"),
            (second, "running"),
            (second, "completed"),
        ]


def test_a_run_that_never_began_has_an_ending(server: Server, gate: Gate) -> None:
    held, thread = gate.input(), new_id()
    with watching(server, thread, ["lifecycle"]) as events:
        first = begin(server, thread, "gate", held)
        node = gate.node(held)
        second = begin(server, thread, "echo", {})
        server.request("POST", f"/threads/{thread}/runs/{second}/cancel").body()
        node.say("done")
        node.finish()
        seen = until(events, times=2)
    told = [(e["event_id"].split(":")[1], e["params"]["data"]["event"]) for e in seen]
    assert told == [(first, "running"), (first, "completed"), (second, "interrupted")]


def test_a_thread_that_is_deleted_ends_its_runs(server: Server, gate: Gate) -> None:
    held, thread = gate.input(), new_id()
    with watching(server, thread, ["lifecycle"]) as events:
        begin(server, thread, "gate", held)
        gate.node(held)
        assert server.request("DELETE", f"/threads/{thread}").status == 204
        assert endings(until(events)) == ["interrupted"]
        begin(server, thread, "echo", {})
        assert endings(until(events)) == ["completed"]


def test_a_breakpoint_leaves_a_run_interrupted_without_a_question(server: Server) -> None:
    thread = new_id()
    events = run(server, "subg", {"topic": "x"}, thread, interrupt_before=["after"])
    assert endings(events) == ["interrupted"]
    assert of(events, "input.requested") == []
    assert endings(run(server, "subg", None, thread)) == ["completed"]


# ------------------------------------------------------------------------------------- who reads badly


def test_heartbeats_come_while_nothing_happens(start_server: RunningServer) -> None:
    server = start_server(GRAPHWIRE_HEARTBEAT_SECONDS="0.2")
    response = subscribe(server, new_id())
    seen = b""
    for chunk in response.chunks():
        seen += chunk
        if seen.count(b": heartbeat") == 3:
            break
    assert seen == b": heartbeat\r\n\r\n" * 3
    response.reset()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"channels": []},
        {"channels": "values"},
        {"channels": ["nope"]},
        {"channels": ["custom:"]},
        {"channels": [1]},
        {"channels": ["values"] * 100},
        [],
    ],
    ids=json.dumps,
)
def test_a_subscription_to_nothing_is_refused(server: Server, body: Any) -> None:
    response = server.request("POST", f"/threads/{new_id()}/stream/events", body)
    assert response.status == 400
    assert response.json()["detail"]


@pytest.mark.parametrize(
    "odd",
    [
        {"since": "x"},
        {"since": -1},
        {"since": None},
        {"depth": "1"},
        {"depth": True},
        {"namespaces": "a"},
        {"namespaces": [[1]]},
        {"namespaces": None},
        {"namespaces": []},
        {"more": 1},
    ],
    ids=json.dumps,
)
def test_what_is_odd_besides_is_passed_over(server: Server, odd: Any) -> None:
    thread = new_id()
    live = run(server, "echo", {}, thread)
    assert replay(server, thread, **odd) == live


def test_namespaces_and_depth_choose(server: Server) -> None:
    thread = new_id()
    live = run(server, "nest", {"t": "x"}, thread)

    def kept(**fields: Any) -> list[tuple[str, int]]:
        last = live[-1]["seq"]
        with watching(server, thread, **fields) as events:
            found = until(events, lambda event: event["seq"] >= last - 64)
        return sorted({("/".join(s.split(":")[0] for s in e["params"]["namespace"]), 0) for e in found})

    assert [name for name, _ in kept(namespaces=[[]], depth=0)] == [""]
    assert [name for name, _ in kept(namespaces=[[]], depth=1)] == ["", "child"]
    assert [name for name, _ in kept(namespaces=[[], ["child", "grand"]])] == ["", "child", "child/grand"]


# ------------------------------------------------------------ modes of the older protocol of the same making


def test_the_older_protocol_tells_of_tools_too(server: Server) -> None:
    frames = server.stream("tools", HI, stream_mode=["tools"]).rest()
    told = [frame.data for frame in frames if frame.event == "tools"]
    assert [(data["event"], data["toolCallId"], data["name"]) for data in told] == [
        ("on_tool_start", "call_1", "research"),
        ("on_tool_end", "call_1", "research"),
    ]
    assert told[0]["input"] == {"q": "ice"}
    assert told[1]["output"]["content"] == "inner answer"


def test_the_older_protocol_tells_of_subgraphs_too(server: Server) -> None:
    frames = server.stream("subg", {"topic": "x"}, stream_mode=["lifecycle"], stream_subgraphs=True).rest()
    told = [frame for frame in frames if frame.event.startswith("lifecycle")]
    assert [frame.data["event"] for frame in told] == ["started", "completed"]
    assert {frame.event for frame in told} == {f"lifecycle|{told[0].data['namespace'][0]}"}
    assert {frame.event.partition("|")[0] for frame in frames} == {"metadata", "lifecycle"}
