"""A run is executed one way, whoever watches: what each protocol sees of runs that the other began."""

import json
from typing import Any

import pytest
from fix_gate import Gate
from fix_openai import Conversation
from fix_server import Server
from fix_v2 import Event, begin, endings, new_id, replay, run, texts, until, watching

HI = {"messages": [{"role": "user", "content": "hi"}]}
NO_TOKENS = [["values"], ["updates"], ["custom"], ["tasks", "checkpoints", "debug"]]
TOKENS = [["messages-tuple"], ["messages", "values"], ["events"], ["tools"]]
INPUTS = {
    "chat": HI,
    "tools": HI,
    "subg": {"topic": "ice"},
    "nest": {"t": "x"},
    "duet": {"messages": []},
    "func": "ice",
    "send": {"items": ["a", "b"]},
    "custom": {},
    "boom": {},
}


def v1(server: Server, graph: str, graph_input: Any, **fields: Any) -> str:
    """The thread of a run that the older protocol began, and that is over."""
    thread = server.new_thread()
    server.stream(graph, graph_input, thread, **fields).body()
    return thread


def outline(events: list[Event]) -> list[tuple[Any, ...]]:
    """What was told, without ids and times; of messages only that they began and ended: see `texts`."""
    found = []
    for event in events:
        params, method = event["params"], event["method"]
        data = params["data"]
        names = tuple(segment.partition(":")[0] for segment in params["namespace"])
        if method == "messages":
            told: Any = (
                data["event"] if data["event"] in ("message-start", "message-finish", "error") else None
            )
        elif method in ("lifecycle", "tools"):
            told = data["event"]
        elif method == "checkpoints":
            told = (data["step"], data["source"])
        else:
            told = sorted(data) if isinstance(data, dict) else data
        if told is not None:
            found.append((method, names, told))
    return found


@pytest.mark.parametrize("graph", INPUTS)
def test_a_viewer_of_v2_sees_the_same_of_a_run_that_v1_began(server: Server, graph: str) -> None:
    own = run(server, graph, INPUTS[graph])
    # Who asks for no tokens has the model say nothing before it fails.
    for modes in TOKENS if graph == "boom" else (*TOKENS, *NO_TOKENS):
        for subgraphs in (False, True):
            asked = {"stream_mode": modes, "stream_subgraphs": subgraphs}
            seen = replay(server, v1(server, graph, INPUTS[graph], **asked))
            assert sorted(map(repr, outline(seen))) == sorted(map(repr, outline(own))), asked
            assert sorted(texts(seen).values()) == sorted(texts(own).values()), asked
            assert endings(seen) == endings(own)


def test_a_viewer_of_v2_sees_each_token_of_a_v1_run_while_the_model_speaks(
    server: Server, gate: Gate
) -> None:
    for modes in TOKENS:
        held, thread = gate.input(), server.new_thread()
        server.post(f"/threads/{thread}/runs", {"assistant_id": "gate", "input": held, "stream_mode": modes})
        node = gate.node(held)
        with watching(server, thread, ["messages", "lifecycle"]) as events:
            for word in ("one ", "two"):
                node.say(word)
                until(events, lambda event, word=word: f'"{word}"' in json.dumps(event["params"]["data"]))
            node.finish()
            assert endings(until(events)) == ["completed"]


def test_a_model_that_was_not_asked_to_stream_does_not_whoever_watches(
    server: Server, topic: str, model: Conversation
) -> None:
    """What it answers at once is not in all things what it streams."""
    thread = server.new_thread()
    with watching(server, thread, ["messages", "lifecycle"]) as events:
        body = {"assistant_id": "agent", "input": {"topic": topic}, "stream_mode": "values"}
        server.post(f"/threads/{thread}/runs", body)
        assert not model.asked().get("stream")
        model.say("Ha!")
        model.finish()
        assert list(texts(until(events)).values()) == ["Ha!"]


def test_a_viewer_of_v1_sees_the_tokens_of_a_v2_run(server: Server, gate: Gate) -> None:
    held, thread = gate.input(), new_id()
    run_id = begin(server, thread, "gate", held)
    node = gate.node(held)
    path = f"/threads/{thread}/runs/{run_id}/stream"
    joined = [server.join(path + query, "-1") for query in ("", "?stream_mode=messages")]
    whole = server.request("GET", f"/threads/{thread}/stream", headers={"Last-Event-ID": "-"})
    for reader in (*joined, whole):
        node.say("one")
        assert reader.next("messages").data[0]["content"] == "one"
    node.finish()
    assert {frame.event for frame in joined[0].rest()} == {"messages", "updates", "values"}
    assert {frame.event for frame in joined[1].rest()} == {"messages"}
    whole.reset()


def test_a_viewer_of_v1_sees_no_asides(server: Server) -> None:
    thread = new_id()
    run(server, "subg", {"topic": "ice"}, thread)
    server.wait("subg", {"topic": "ice"}, thread, stream_mode="custom")
    response = server.request("GET", f"/threads/{thread}/stream", headers={"Last-Event-ID": "-"})
    seen: list[str] = []
    while seen.count("run_done") < 2:
        frame = response.next_frame()
        seen.append(frame.data.get("status") or "metadata" if frame.event == "metadata" else frame.event)
    response.reset()
    assert {name.partition("|")[0] for name in seen} == {
        "metadata",
        "messages",
        "updates",
        "values",
        "run_done",
    }
    assert seen[-2:] == ["metadata", "run_done"]  # of the second run, which was to show nothing


def test_what_a_graph_stores_does_not_depend_on_who_watches(server: Server) -> None:
    def messages(thread: str) -> list[Any]:
        found = server.get(f"/threads/{thread}/state")["values"]["messages"]
        return [{key: value for key, value in message.items() if key != "id"} for message in found]

    thread = new_id()
    run(server, "tools", HI, thread)
    assert messages(thread) == messages(v1(server, "tools", HI, stream_mode="messages-tuple"))
    watched = server.new_thread()
    with watching(server, watched) as events:
        server.wait("tools", HI, watched)
        until(events)
    unwatched = server.new_thread()
    server.wait("tools", HI, unwatched)
    assert messages(watched) == messages(unwatched)
