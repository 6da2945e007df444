"""A stream that was cut goes on where it was cut: nothing lost, nothing doubled."""

import itertools
import json
import random

import pytest
import wire
from fix_gate import Gate
from fix_server import Server, run_of

TOKENS = [f"token-{number} " for number in range(60)]
UNKNOWN = "00000000-0000-0000-0000-000000000001"


def talkative(server: Server, thread: str | None = "new", pause: float = 0.0) -> wire.Response:
    """A stream of sixty tokens."""
    texts = [json.dumps(token) for token in TOKENS]
    return server.stream("texts", {"texts": texts, "pause": pause}, thread, stream_mode="messages-tuple")


def contents(frames: list[wire.Frame]) -> list[str]:
    return [
        frame.data[0]["content"] for frame in frames if frame.event == "messages" and frame.data[0]["content"]
    ]


def stream_of(response: wire.Response) -> str:
    location = response.header("location")
    assert location
    return location


# ---------------------------------------------------------------- cuts
@pytest.mark.parametrize("cut", range(100))
def test_after_a_cut_at_a_random_byte_the_rest_comes_once(server: Server, cut: int) -> None:
    chance = random.Random(cut)
    stream = talkative(server, pause=0.0005)
    location = stream_of(stream)
    received = stream.wire_bytes(chance.randrange(60_000))
    stream.reset() if chance.random() < 0.5 else stream.close()
    before = wire.Frames().feed(wire.dechunked(received))
    last_id = before[-1].id if before else "-1"
    after = server.join(location, last_id).rest()
    assert contents(before) + contents(after) == TOKENS
    ids = [frame.order for frame in [*before, *after]]
    assert all(a < b for a, b in itertools.pairwise(ids))


def test_a_reader_that_is_cut_again_and_again_gets_every_token_once(server: Server) -> None:
    chance = random.Random(7)
    stream = talkative(server, pause=0.002)
    location, got, last_id = stream_of(stream), [], "-1"
    while True:
        received = stream.wire_bytes(chance.randrange(500, 8_000))
        stream.reset()
        if frames := wire.Frames().feed(wire.dechunked(received)):
            got += frames
            last_id = frames[-1].id
        if got and got[-1].event == "messages" and got[-1].data[0]["chunk_position"] == "last":
            break
        stream = server.join(location, last_id)
    assert contents(got) == TOKENS


def test_a_reader_that_comes_back_while_the_model_speaks_gets_the_gap_and_then_live_tokens(
    server: Server, gate: Gate
) -> None:
    graph_input = gate.input()
    stream = server.stream("gate", graph_input, stream_mode="messages-tuple")
    location, node = stream_of(stream), gate.node(graph_input)
    node.say("one ")
    last = stream.next("messages")
    stream.reset()
    node.say("two ")
    again = server.join(location, last.id)
    assert again.next("messages").data[0]["content"] == "two "
    node.say("three")
    assert again.next("messages").data[0]["content"] == "three"
    node.finish()
    assert contents(again.rest()) == []


def test_five_readers_at_different_places_see_the_same_events(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    first = server.stream("gate", graph_input, stream_mode="messages-tuple")
    location, node = stream_of(first), gate.node(graph_input)
    readers = [first, *(server.join(location, "-1") for _ in range(4))]
    for word in ("one ", "two ", "three"):
        node.say(word)
    node.finish()
    raw = [
        b"".join(frame.raw for frame in reader.rest()).replace(b"retry: 1000\r\n", b"") for reader in readers
    ]
    assert raw[0].count(b"event: messages") == 4
    assert len(set(raw)) == 1


# ---------------------------------------------------------------- ids
def test_ids_strictly_increase_in_a_fast_stream(server: Server) -> None:
    ids = [frame.order for frame in talkative(server).rest()]
    assert len(ids) > 60
    assert all(before < after for before, after in itertools.pairwise(ids))


def test_a_replay_has_the_ids_of_the_first_time(server: Server) -> None:
    stream = talkative(server)
    location, live = stream_of(stream), stream.rest()
    assert [frame.id for frame in server.join(location, "-1").rest()] == [frame.id for frame in live]


@pytest.mark.parametrize(
    "last_event_id", ["-1", "-", "0", "0-0", "garbage", "+", "$", "é", "1e3", "-5-5", "9" * 50]
)
def test_ids_that_no_event_has_replay_everything(server: Server, last_event_id: str) -> None:
    stream = talkative(server)
    location, live = stream_of(stream), stream.rest()
    replayed = server.join(location, last_event_id).rest()
    assert [frame.id for frame in replayed] == [frame.id for frame in live]


def test_the_header_name_may_be_written_in_any_case(server: Server) -> None:
    stream = talkative(server)
    location, live = stream_of(stream), stream.rest()
    replayed = server.request("GET", location, headers={"LAST-EVENT-id": live[-2].id}).rest()
    assert [frame.id for frame in replayed] == [live[-1].id]


def test_after_the_last_event_nothing_comes(server: Server) -> None:
    stream = talkative(server)
    location, live = stream_of(stream), stream.rest()
    again = server.join(location, live[-1].id)
    assert (again.status, again.rest(), again.ended_by) == (200, [], "last chunk")


# ---------------------------------------------------------------- how a run ended is part of the replay
def test_the_error_of_a_failed_run_is_replayed(server: Server) -> None:
    stream = server.stream("boom", {"how": "plain"}, stream_mode="messages-tuple")
    location = stream_of(stream)
    stream.rest()
    assert server.join(location, "-1").rest()[-1].data["message"] == "plain failure: secret=hunter2"


def test_the_error_comes_alone_to_a_reader_that_saw_all_tokens(server: Server) -> None:
    stream = server.stream("boom", {"how": "plain"}, stream_mode="messages-tuple")
    location, live = stream_of(stream), stream.rest()
    assert [frame.event for frame in server.join(location, live[-2].id).rest()] == ["error"]


def test_the_replay_of_a_finished_run_ends_by_itself(server: Server) -> None:
    stream = talkative(server)
    location = stream_of(stream)
    stream.rest()
    again = server.join(location, "-1")
    again.rest()
    assert again.ended_by == "last chunk"


def test_the_replay_of_a_cancelled_run_ends_by_itself(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    stream = server.stream("gate", graph_input, stream_mode="messages-tuple")
    location, node = stream_of(stream), gate.node(graph_input)
    node.say("one ")
    stream.next("messages")
    server.post(f"{run_of(stream)}/cancel?wait=1")
    stream.rest()
    again = server.join(location, "-1")
    assert contents(again.rest()) == ["one "]
    assert again.ended_by == "last chunk"


# ---------------------------------------------------------------- joining without an id
def test_a_late_joiner_without_an_id_sees_only_what_comes(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    stream = server.stream("gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    node.say("early ")
    stream.next("messages")
    joiner = server.join(stream_of(stream))
    assert joiner.status == 200
    node.say("late")
    assert joiner.next_frame().data[0]["content"] == "late"
    node.finish()
    assert contents(joiner.rest()) == []


def test_a_joiner_of_a_run_that_waits_its_turn_sees_everything(server: Server, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    first = server.stream("gate", graph_input, thread)
    node = gate.node(graph_input)
    queued = server.stream("joke", {"topic": "ice"}, thread)
    joiner = server.join(stream_of(queued))
    node.finish()
    assert joiner.next_frame().event == "metadata"
    joiner.rest()
    first.rest()


def test_a_finished_run_without_an_id_is_an_empty_stream(server: Server) -> None:
    stream = talkative(server)
    location = stream_of(stream)
    stream.rest()
    again = server.join(location)
    assert (again.status, again.rest(), again.ended_by) == (200, [], "last chunk")


def test_a_run_that_somebody_waited_for_can_be_replayed(server: Server) -> None:
    thread = server.new_thread()
    body = {"assistant_id": "joke", "input": {"topic": "ice"}, "stream_mode": ["values"]}
    waited = server.request("POST", f"/threads/{thread}/runs/wait", body)
    waited.body()
    frames = server.join(f"{run_of(waited)}/stream", "-1").rest()
    assert [frame.event for frame in frames] == ["metadata", "values", "values"]


def test_the_stream_mode_of_a_join_filters_events(server: Server) -> None:
    stream = server.stream("joke", {"topic": "ice"}, stream_mode=["values", "updates", "messages-tuple"])
    location = stream_of(stream)
    stream.rest()
    frames = server.join(f"{location}?stream_mode=updates&stream_mode=values", "-1").rest()
    assert [frame.event for frame in frames] == ["metadata", "values", "updates", "values"]


def test_no_filter_hides_the_error(server: Server) -> None:
    stream = server.stream("boom", {"how": "first"}, stream_mode=["values", "updates"])
    location = stream_of(stream)
    stream.rest()
    assert server.join(f"{location}?stream_mode=updates", "-1").rest()[-1].event == "error"


# ---------------------------------------------------------------- runs without a thread
def test_a_run_without_a_thread_can_be_resumed_at_its_location(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    stream = server.stream("gate", graph_input, thread=None, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    node.say("one ")
    last = stream.next("messages")
    stream.reset()
    again = server.join(stream_of(stream), last.id)
    assert again.status == 200
    node.say("two")
    node.finish()
    assert contents(again.rest()) == ["two"]


# ---------------------------------------------------------------- what there is not
def test_an_unknown_run_is_404(server: Server) -> None:
    answer = server.join(f"/threads/{server.new_thread()}/runs/{UNKNOWN}/stream", "-1")
    assert (answer.status, list(answer.json())) == (404, ["detail"])


def test_a_run_of_another_thread_is_404(server: Server) -> None:
    stream = talkative(server)
    run = run_of(stream).rsplit("/", 1)[1]
    stream.rest()
    assert server.join(f"/threads/{server.new_thread()}/runs/{run}/stream", "-1").status == 404


def test_an_unknown_thread_is_404(server: Server) -> None:
    assert server.join(f"/threads/{UNKNOWN}/runs/{UNKNOWN}/stream").status == 404


@pytest.mark.parametrize("path", ["/threads/x/runs/" + UNKNOWN, f"/threads/{UNKNOWN}/runs/x"])
def test_an_id_that_is_no_uuid_is_422(server: Server, path: str) -> None:
    answer = server.join(f"{path}/stream")
    assert (answer.status, "UUID" in answer.json()["detail"]) == (422, True)
