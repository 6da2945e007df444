"""Protocol v2 over several processes: commands at one, streams at another, the runs in a third."""

import json
from collections.abc import Callable

import pytest
from fix_cluster import Cluster
from fix_gate import Gate
from fix_server import Server
from fix_v2 import (
    Event,
    ask,
    begin,
    endings,
    ends_run,
    new_id,
    of,
    replay,
    run,
    seq,
    texts,
    until,
    watching,
)
from websockets.sync.client import connect

TURNS = 3
WORDS = [f"w{number} " for number in range(20)]


@pytest.fixture
def cluster(start_cluster: Callable[..., Cluster]) -> Cluster:
    """Two processes take requests, one executes runs."""
    return start_cluster(apis=2, workers=1)


@pytest.fixture
def here(cluster: Cluster) -> Server:
    return cluster.apis[0].server


@pytest.fixture
def there(cluster: Cluster) -> Server:
    return cluster.apis[1].server


def says(word: str) -> Callable[[Event], bool]:
    return lambda event: word in json.dumps(event["params"]["data"])


def test_each_word_arrives_elsewhere_while_the_model_is_still_speaking(
    here: Server, there: Server, gate: Gate
) -> None:
    thread, graph_input = new_id(), gate.input()
    with watching(here, thread) as events, watching(there, thread) as others:
        begin(there, thread, "gate", graph_input)
        speaker = gate.node(graph_input)
        seen: dict[str, list[Event]] = {"here": [], "there": []}
        for word in WORDS:
            speaker.say(word)
            seen["here"] += until(events, says(word))
            seen["there"] += until(others, says(word))
        speaker.finish()
        seen["here"] += until(events)
        seen["there"] += until(others)
    assert list(texts(seen["here"]).values()) == ["".join(WORDS)]
    assert endings(seen["here"]) == ["completed"]
    assert seen["here"] == seen["there"] == replay(here, thread) == replay(there, thread)


def test_who_goes_on_at_another_process_hears_each_event_once(
    here: Server, there: Server, gate: Gate
) -> None:
    thread, graph_input = new_id(), gate.input()
    seen: list[Event] = []
    with watching(here, thread) as events:
        begin(here, thread, "gate", graph_input)
        speaker = gate.node(graph_input)
        speaker.say(WORDS[0])
        seen += until(events, says(WORDS[0]))
    for number, word in enumerate(WORDS[1:]):
        speaker.say(word)
        with watching((there, here)[number % 2], thread, since=seen[-1]["seq"]) as events:
            seen += until(events, says(word))
    speaker.finish()
    with watching(there, thread, since=seen[-1]["seq"]) as events:
        seen += until(events)
    assert seen == replay(here, thread)
    assert list(texts(seen).values()) == ["".join(WORDS)]


def test_a_question_is_asked_here_and_answered_there(here: Server, there: Server) -> None:
    thread = new_id()
    with watching(here, thread) as events:
        begin(there, thread, "intr", {"log": ["st"]})
        before = until(events)
        (question,) = of(before, "input.requested")
        assert endings(before) == ["interrupted"]
        ask(there, thread, "input.respond", interrupt_id=question["interrupt_id"], response="yes")
        after = until(events)
    assert endings(after) == ["completed"]
    assert before + after == replay(there, thread, runs=2)


def test_a_run_is_stopped_from_another_process(here: Server, there: Server, gate: Gate) -> None:
    thread, graph_input = new_id(), gate.input()
    with watching(here, thread) as events:
        run_id = begin(here, thread, "gate", graph_input)
        speaker = gate.node(graph_input)
        speaker.say("half")
        until(events, says("half"))
        there.request("POST", f"/threads/{thread}/runs/{run_id}/cancel").body()
        assert speaker.hear() == "cancelled"
        assert endings(until(events)) == ["interrupted"]


def test_turns_that_are_begun_in_turn_at_both_have_increasing_numbers(here: Server, there: Server) -> None:
    thread = new_id()
    with watching(here, thread) as events:
        seen: list[Event] = []
        for turn in range(TURNS):
            place = (here, there)[turn % 2]
            assert seq(place, thread) >= (seen[-1]["seq"] if seen else 0)
            begin(place, thread, "chat", {"messages": [{"role": "user", "content": f"turn {turn}"}]})
            seen += until(events)
    numbers = [event["seq"] for event in seen]
    assert numbers == sorted(set(numbers))
    assert seen == replay(there, thread, runs=TURNS)


def test_the_number_behind_which_all_is_new_holds_at_every_process(
    here: Server, there: Server, gate: Gate
) -> None:
    thread, graph_input = new_id(), gate.input()
    with watching(here, thread) as events:
        begin(here, thread, "gate", graph_input)
        speaker = gate.node(graph_input)
        speaker.say("old ")
        until(events, says("old "))
    with watching(there, thread, since=seq(there, thread)) as events:
        speaker.say("new ")
        speaker.finish()
        deltas = [data for data in of(until(events), "messages") if data["event"] == "content-block-delta"]
    assert [data["delta"]["text"] for data in deltas] == ["new "]


def test_a_socket_at_one_process_sees_the_run_of_a_command_at_another(here: Server, there: Server) -> None:
    thread = new_id()
    with connect(f"ws://127.0.0.1:{here.port}/threads/{thread}/stream/events") as socket:
        asked = {"id": 1, "method": "subscription.subscribe", "params": {"channels": ["lifecycle"]}}
        socket.send(json.dumps(asked))
        assert json.loads(socket.recv(20))["type"] == "success"
        begin(there, thread, "chat", {"messages": [{"role": "user", "content": "hi"}]})
        while not ends_run(event := json.loads(socket.recv(20))):
            pass
    assert event["params"]["data"]["event"] == "completed"


def test_the_number_of_events_survives_the_process_that_told_them(cluster: Cluster, there: Server) -> None:
    thread = new_id()
    seen = run(there, "chat", {"messages": [{"role": "user", "content": "hi"}]}, thread)
    cluster.apis[0].kill()
    again = cluster.apis[0].restart()
    assert seen == replay(again, thread)


def test_a_run_whose_worker_dies_ends_once(start_cluster: Callable[..., Cluster], gate: Gate) -> None:
    cluster = start_cluster(apis=1, workers=2, GRAPHWIRE_LEASE_SECONDS="2")
    server, thread, graph_input = cluster.apis[0].server, new_id(), gate.input()
    with watching(server, thread) as events:
        begin(server, thread, "gate", graph_input)
        speaker = gate.node(graph_input)
        speaker.say("half")
        seen = until(events, says("half"))
        cluster.workers[0].kill()
        cluster.workers[0].restart()
        if speaker.is_silent():  # it was in the other one
            cluster.workers[1].kill()
        speaker = gate.node(graph_input)
        speaker.say("whole")
        speaker.finish()
        seen += until(events)
    assert endings(seen) == ["completed"]
    assert [text for text in texts(seen).values() if text] == ["half", "whole"]
    assert seen == replay(server, thread)
