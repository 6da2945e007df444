"""The stream of a thread: all its runs one after the other, how each ended, and nothing lost or doubled."""

import itertools
import json
import random
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import wire
from fix_engine import EMBEDDED, Engine
from fix_gate import Gate
from fix_server import RunningServer, Server, eventually, run_of

UNKNOWN = "00000000-0000-0000-0000-000000000001"


def follow(
    server: Server, thread: str, query: str = "", last_event_id: str | None = None, **kwargs: Any
) -> wire.Response:
    """A reader of a thread, connected."""
    reader = server.join(f"/threads/{thread}/stream{query}", last_event_id, **kwargs)
    assert reader.status == 200, reader.body()
    return reader


def is_done(frame: wire.Frame) -> bool:
    return frame.event == "metadata" and frame.data.get("status") == "run_done"


def until_done(reader: wire.Response, runs: int = 1) -> list[wire.Frame]:
    """What comes until so many runs are over."""
    frames: list[wire.Frame] = []
    while sum(map(is_done, frames)) < runs:
        frames.append(reader.next_frame())
    return frames


def outcomes(frames: Iterable[wire.Frame]) -> list[tuple[str, str]]:
    return [(frame.data["run_id"], frame.data["outcome"]) for frame in frames if is_done(frame)]


def seen(frames: Iterable[wire.Frame]) -> list[tuple[str, str, Any]]:
    return [(frame.id, frame.event, frame.data) for frame in frames]


def tokens(frames: Iterable[wire.Frame]) -> list[str]:
    found = [frame.data[0]["content"] for frame in frames if frame.event == "messages"]
    return [token for token in found if token]


def id_of(response: wire.Response) -> str:
    return run_of(response).rsplit("/", 1)[1]


def background(server: Server, thread: str, graph: str, graph_input: Any, **fields: Any) -> str:
    body = {"assistant_id": graph, "input": graph_input, **fields}
    return str(server.post(f"/threads/{thread}/runs", body)["run_id"])


def joke(server: Server, thread: str, **fields: Any) -> str:
    """A run that is over when this returns."""
    run = background(server, thread, "joke", {"topic": "ice"}, **fields)
    server.get(f"/threads/{thread}/runs/{run}/join")
    return run


@pytest.fixture
def thread(server: Server) -> str:
    return server.new_thread()


@pytest.fixture(scope="module")
def brief(start_server: RunningServer) -> Server:
    """Forgets streams as soon as it may, and beats fast."""
    return start_server(RESUMABLE_STREAM_TTL_SECONDS="0", GRAPHWIRE_HEARTBEAT_SECONDS="0.1")


# ---------------------------------------------------------------- live
def test_a_token_reaches_the_reader_while_the_model_is_still_speaking(
    server: Server, thread: str, gate: Gate
) -> None:
    reader, graph_input = follow(server, thread), gate.input()
    run = background(server, thread, "gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    assert reader.next_frame().data == {"run_id": run, "attempt": 1}
    for word in ("one ", "two ", "three"):
        node.say(word)
        assert reader.next_frame().data[0]["content"] == word
    node.finish()
    assert outcomes(until_done(reader)) == [(run, "success")]


def test_a_reader_waits_on_a_quiet_thread_for_whatever_run_comes(server: Server, thread: str) -> None:
    reader = follow(server, thread)
    for _ in range(3):
        run = joke(server, thread)
        frames = until_done(reader)
        assert frames[0].data == {"run_id": run, "attempt": 1}
        assert outcomes(frames) == [(run, "success")]


def test_a_late_reader_sees_what_comes_of_the_run_under_way(server: Server, thread: str, gate: Gate) -> None:
    graph_input = gate.input()
    first = server.stream("gate", graph_input, thread, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    node.say("early ")
    first.next("messages")
    reader = follow(server, thread)
    node.say("late")
    assert reader.next_frame().data[0]["content"] == "late"


def test_a_late_reader_sees_the_run_under_way_also_when_one_behind_it_was_cancelled(
    server: Server, thread: str, gate: Gate
) -> None:
    graph_input = gate.input()
    first = server.stream("gate", graph_input, thread, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    waiting = background(server, thread, "joke", {"topic": "ice"})
    server.post(f"/threads/{thread}/runs/{waiting}/cancel?wait=1")
    reader = follow(server, thread)
    node.say("still here")
    assert reader.next_frame().data[0]["content"] == "still here"
    node.finish()
    assert outcomes(until_done(reader, 2)) == [(id_of(first), "success"), (waiting, "interrupted")]


def test_two_readers_see_the_same(server: Server, thread: str) -> None:
    readers = [follow(server, thread) for _ in range(2)]
    for _ in range(2):
        joke(server, thread, stream_mode=["values", "updates", "messages-tuple"])
    first, second = (until_done(reader, 2) for reader in readers)
    assert seen(first) == seen(second)


def test_readers_of_another_thread_hear_nothing_of_it(server: Server, thread: str) -> None:
    other = server.new_thread()
    reader = follow(server, other)
    joke(server, thread)
    run = joke(server, other)
    assert outcomes(until_done(reader)) == [(run, "success")]


def test_the_run_of_a_thread_that_a_reader_vanished_from_goes_on(
    server: Server, thread: str, gate: Gate
) -> None:
    reader, graph_input = follow(server, thread), gate.input()
    run = background(server, thread, "gate", graph_input)
    node = gate.node(graph_input)
    reader.next_frame()
    reader.reset()
    node.finish()
    server.get(f"/threads/{thread}/runs/{run}/join")
    assert server.get(f"/threads/{thread}/runs/{run}")["status"] == "success"


def test_heartbeats_come_while_nothing_happens(brief: Server) -> None:
    thread = brief.new_thread()
    reader = follow(brief, thread)
    chunks = reader.chunks()
    assert [next(chunks) for _ in range(3)] == [b": heartbeat\r\n\r\n"] * 3
    joke(brief, thread)
    assert any(b"run_done" in chunk for chunk in itertools.islice(chunks, 50))


def test_retry_stands_in_the_first_event(server: Server, thread: str) -> None:
    reader = follow(server, thread)
    joke(server, thread)
    assert [frame.retry for frame in until_done(reader)] == ["1000", None, None, None]


# ---------------------------------------------------------------- runs of every kind, in their order
def test_runs_of_every_kind_come_one_after_the_other_with_their_outcome(server: Server, gate: Gate) -> None:
    """Succeeded, failed, cancelled, cancelled before it began, delayed and cancelled, queued, asking."""
    thread, held = server.new_thread(), gate.input()
    reader = follow(server, thread)
    good = joke(server, thread)
    bad = background(server, thread, "boom", {"how": "first"})
    server.get(f"/threads/{thread}/runs/{bad}/join")
    long = background(server, thread, "gate", held)
    node = gate.node(held)
    waiting = background(server, thread, "joke", {"topic": "a"})
    server.post(f"/threads/{thread}/runs/{waiting}/cancel?wait=1")
    delayed = background(server, thread, "joke", {"topic": "b"}, after_seconds=3600)
    server.post(f"/threads/{thread}/runs/{delayed}/cancel?wait=1")
    queued = background(server, thread, "joke", {"topic": "c"})
    server.post(f"/threads/{thread}/runs/{long}/cancel?wait=1")
    assert node.hear() == "cancelled"
    asking = background(server, thread, "intr", {"x": "1"})
    frames = until_done(reader, 7)
    assert outcomes(frames) == [
        (good, "success"),
        (bad, "error"),
        (long, "interrupted"),
        (waiting, "interrupted"),
        (delayed, "interrupted"),
        (queued, "success"),
        (asking, "success"),
    ]
    assert [frame.data["error"] for frame in frames if frame.event == "error"] == ["ValueError"]
    ids = [frame.order for frame in frames]
    assert all(before < after for before, after in itertools.pairwise(ids))


def test_a_delayed_run_comes_when_it_is_due(server: Server, thread: str) -> None:
    reader = follow(server, thread)
    delayed = background(server, thread, "joke", {"topic": "ice"}, after_seconds=0.2)
    assert outcomes(until_done(reader)) == [(delayed, "success")]


def test_a_run_that_took_too_long_is_an_error_and_a_timeout(start_server: RunningServer, gate: Gate) -> None:
    server, graph_input = start_server(BG_JOB_TIMEOUT_SECS="0.5"), gate.input()
    thread = server.new_thread()
    reader = follow(server, thread)
    run = background(server, thread, "gate", graph_input)
    frames = until_done(reader)
    assert frames[-2].event == "error"
    assert frames[-2].data == {"error": "TimeoutError", "message": "the run took longer than 0.5 seconds"}
    assert outcomes(frames) == [(run, "timeout")]


@pytest.mark.parametrize(("strategy", "outcome"), [("interrupt", "interrupted"), ("rollback", "rolled_back")])
def test_runs_that_made_way_are_told_of_before_the_one_they_made_way_for(
    server: Server, gate: Gate, strategy: str, outcome: str
) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    reader = follow(server, thread)
    running = background(server, thread, "gate", graph_input)
    gate.node(graph_input)
    queued = background(server, thread, "joke", {"topic": "a"})
    new = background(server, thread, "joke", {"topic": "b"}, multitask_strategy=strategy)
    frames = until_done(reader, 3)
    assert outcomes(frames) == [(running, outcome), (queued, outcome), (new, "success")]
    reasons = [frame.data.get("reason") for frame in frames if is_done(frame)]
    assert reasons == [f"superseded by run {new} (multitask_strategy={strategy})"] * 2 + [None]


def test_a_run_that_is_rolled_back_by_a_cancel_says_so(server: Server, thread: str, gate: Gate) -> None:
    reader, graph_input = follow(server, thread), gate.input()
    run = background(server, thread, "gate", graph_input)
    gate.node(graph_input)
    server.post(f"/threads/{thread}/runs/{run}/cancel?action=rollback&wait=1")
    assert outcomes(until_done(reader)) == [(run, "rolled_back")]


# ---------------------------------------------------------------- modes
def test_lifecycle_shows_beginning_and_end_of_each_run_and_no_error(server: Server, thread: str) -> None:
    reader = follow(server, thread, "?stream_modes=lifecycle")
    good = joke(server, thread)
    bad = background(server, thread, "boom", {"how": "first"})
    frames = until_done(reader, 2)
    assert [frame.data for frame in frames] == [
        {"run_id": good, "attempt": 1},
        {"status": "run_done", "run_id": good, "outcome": "success"},
        {"run_id": bad, "attempt": 1},
        {"status": "run_done", "run_id": bad, "outcome": "error"},
    ]


def test_state_update_shows_changes_by_hand_and_nothing_of_runs(server: Server, thread: str) -> None:
    reader = follow(server, thread, "?stream_modes=state_update")
    joke(server, thread)
    server.post(f"/threads/{thread}/state", {"values": {"joke": "mine"}})
    frame = reader.next_frame()
    assert (frame.event, frame.data["thread_id"]) == ("state_update", thread)
    assert frame.data["state"]["values"]["joke"] == "mine"


def test_run_modes_do_not_show_changes_by_hand(server: Server, thread: str) -> None:
    reader = follow(server, thread)
    joke(server, thread)
    server.post(f"/threads/{thread}/state", {"values": {"joke": "mine"}})
    joke(server, thread)
    assert {frame.event for frame in until_done(reader, 2)} == {"metadata", "values"}


@pytest.mark.parametrize(
    "query",
    [
        "?stream_modes=lifecycle,state_update",
        "?stream_mode=lifecycle,state_update",
        "?stream_modes=lifecycle&stream_modes=state_update",
        "?stream_mode=lifecycle&stream_mode=state_update",
        "?stream_modes=lifecycle&stream_mode=state_update",
        "?stream_modes=%5B%22lifecycle%22,%22state_update%22%5D",
        "?stream_modes=lifecycle,%20state_update",
    ],
)
def test_modes_may_be_combined_in_every_spelling(server: Server, thread: str, query: str) -> None:
    reader = follow(server, thread, query)
    joke(server, thread)
    server.post(f"/threads/{thread}/state", {"values": {"joke": "mine"}})
    assert [reader.next_frame().event for _ in range(3)] == ["metadata", "metadata", "state_update"]


@pytest.mark.parametrize("query", ["", "?stream_modes=run_modes", "?stream_mode=run_modes,lifecycle"])
def test_run_modes_are_the_default_and_contain_the_lifecycle(server: Server, thread: str, query: str) -> None:
    reader = follow(server, thread, query)
    joke(server, thread)
    assert [frame.event for frame in until_done(reader)] == ["metadata", "values", "values", "metadata"]


@pytest.mark.parametrize("query", ["?stream_modes=values", "?stream_mode=lifecycle,nope", "?stream_mode=x"])
def test_an_unknown_mode_is_422(server: Server, thread: str, query: str) -> None:
    answer = server.request("GET", f"/threads/{thread}/stream{query}")
    assert (answer.status, "stream mode" in answer.json()["detail"]) == (422, True)


def test_an_id_that_is_no_uuid_is_422(server: Server) -> None:
    answer = server.request("GET", "/threads/x/stream")
    assert (answer.status, answer.json()["detail"]) == (422, "Invalid thread ID: must be a UUID")


def test_an_unknown_thread_is_404(server: Server) -> None:
    answer = server.request("GET", f"/threads/{UNKNOWN}/stream", headers={"Last-Event-ID": "-"})
    assert (answer.status, UNKNOWN in answer.json()["detail"]) == (404, True)


def test_the_head_is_that_of_a_stream(server: Server, thread: str) -> None:
    reader = follow(server, thread)
    assert reader.header("content-type") == "text/event-stream; charset=utf-8"
    assert reader.header("cache-control") == "no-store, no-transform"
    assert reader.header("x-accel-buffering") == "no"
    assert reader.header("location") == f"/threads/{thread}/stream"


def test_the_location_asks_for_the_same_modes(server: Server, thread: str) -> None:
    reader = follow(server, thread, "?stream_mode=state_update&stream_modes=lifecycle")
    location = reader.header("location")
    assert location == f"/threads/{thread}/stream?stream_modes=lifecycle,state_update"
    again = server.join(location)
    assert again.header("location") == location


# ---------------------------------------------------------------- ids, and coming back
def history(server: Server, thread: str, runs: int) -> list[wire.Frame]:
    """Everything that is held of a thread."""
    return until_done(follow(server, thread, last_event_id="-"), runs)


def test_ids_are_those_of_the_runs_own_streams(server: Server, thread: str) -> None:
    fields = {"stream_mode": ["values", "updates", "messages-tuple"]}
    runs = [joke(server, thread, **fields) for _ in range(3)]
    frames = [frame for frame in history(server, thread, 3) if not is_done(frame)]
    own = [server.join(f"/threads/{thread}/runs/{run}/stream", "-1").rest() for run in runs]
    assert seen(frames) == seen(itertools.chain.from_iterable(own))


def test_a_reader_may_change_over_from_the_stream_of_a_run_to_that_of_its_thread(
    server: Server, thread: str, gate: Gate
) -> None:
    graph_input = gate.input()
    run = server.stream("gate", graph_input, thread, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    node.say("one ")
    last = run.next("messages")
    run.reset()
    node.say("two")
    reader = follow(server, thread, last_event_id=last.id)
    assert reader.next_frame().data[0]["content"] == "two"
    node.finish()
    until_done(reader)


@pytest.mark.parametrize("place", ["-", "-1", "0", "0-0"])
def test_the_beginning_is_everything_that_is_held(server: Server, thread: str, place: str) -> None:
    live = follow(server, thread)
    runs = [joke(server, thread), background(server, thread, "boom", {"how": "first"})]
    frames = until_done(live, 2)
    again = until_done(follow(server, thread, last_event_id=place), 2)
    assert seen(again) == seen(frames)
    assert [run for run, _ in outcomes(again)] == runs
    assert "error" in [frame.event for frame in again]


def test_after_every_event_comes_exactly_the_rest(server: Server, thread: str) -> None:
    for graph_input in ({"topic": "a"}, {"topic": "b"}, {"topic": "c"}):
        run = background(server, thread, "joke", graph_input)
        server.get(f"/threads/{thread}/runs/{run}/join")
    frames = history(server, thread, 3)
    for at, frame in enumerate(frames[:-1]):
        rest = frames[at + 1 :]
        reader = follow(server, thread, last_event_id=frame.id)
        assert seen(until_done(reader, len(outcomes(rest)))) == seen(rest)
        reader.reset()


def test_after_the_last_event_comes_the_next_run(server: Server, thread: str) -> None:
    joke(server, thread)
    last = history(server, thread, 1)[-1]
    reader = follow(server, thread, last_event_id=last.id)
    run = joke(server, thread)
    assert reader.next_frame().data == {"run_id": run, "attempt": 1}


def test_milliseconds_alone_are_the_first_event_of_that_run(server: Server, thread: str) -> None:
    joke(server, thread)
    joke(server, thread)
    frames = history(server, thread, 2)
    milliseconds = frames[0].id.partition("-")[0]
    assert seen(until_done(follow(server, thread, last_event_id=milliseconds), 2)) == seen(frames[1:])


@pytest.mark.parametrize("last", ["garbage", "", "+", "$", "1-2-3", "-2", "1e3", "9" * 30, "é", "1-x"])
def test_what_is_no_id_is_422(server: Server, thread: str, last: str) -> None:
    answer = server.request("GET", f"/threads/{thread}/stream", headers={"Last-Event-ID": last})
    assert (answer.status, "last-event-id" in answer.json()["detail"]) == (422, True)


def cut_pieces(server: Server, thread: str, chance: random.Random) -> Iterator[list[wire.Frame]]:
    """The thread from its beginning, by a reader that is cut off again and again."""
    last_event_id = "-"
    while True:
        reader = follow(server, thread, last_event_id=last_event_id)
        received = reader.wire_bytes(chance.randrange(200, 6_000))
        reader.reset() if chance.random() < 0.5 else reader.close()
        if frames := wire.Frames().feed(wire.dechunked(received)):
            yield frames
            last_event_id = frames[-1].id


@pytest.mark.parametrize("seed", range(8))
def test_a_reader_cut_at_random_bytes_over_several_runs_loses_and_doubles_nothing(
    server: Server, thread: str, seed: int
) -> None:
    words = [[f"{run}-{token} " for token in range(30)] for run in range(5)]
    runs = [
        background(
            server,
            thread,
            "texts",
            {"texts": [json.dumps(word) for word in said], "pause": 0.001},
            stream_mode="messages-tuple",
        )
        for said in words
    ]
    got: list[wire.Frame] = []
    for frames in cut_pieces(server, thread, random.Random(seed)):
        got += frames
        if len(outcomes(got)) == 4:  # the last run is there so that there is always something to be cut
            break
    assert outcomes(got) == [(run, "success") for run in runs[:4]]
    said = [word for said in words for word in said]
    assert tokens(got) == said[: len(tokens(got))]
    assert len(tokens(got)) >= 4 * 30
    ids = [frame.order for frame in got]
    assert all(before < after for before, after in itertools.pairwise(ids))


# ---------------------------------------------------------------- what is no longer held
def test_a_reader_that_comes_too_late_is_told_so_and_goes_on(brief: Server) -> None:
    thread = brief.new_thread()
    live = follow(brief, thread)
    joke(brief, thread)
    first = live.next_frame()
    live.reset()
    assert eventually(lambda: expired(brief, thread))
    reader = follow(brief, thread, last_event_id=first.id)
    gone = reader.next_frame()
    assert (gone.event, gone.data["error"], gone.id) == ("error", "EventsExpired", first.id)
    run = joke(brief, thread)
    assert reader.next_frame().data == {"run_id": run, "attempt": 1}


def expired(server: Server, thread: str) -> bool:
    """Whether nothing of the thread is held any more: its stream begins with a heartbeat."""
    reader = follow(server, thread, last_event_id="-")
    first = next(reader.chunks())
    reader.reset()
    return first == b": heartbeat\r\n\r\n"


def test_the_beginning_of_what_is_gone_is_no_loss(brief: Server) -> None:
    thread = brief.new_thread()
    joke(brief, thread)
    assert eventually(lambda: expired(brief, thread))
    reader = follow(brief, thread, last_event_id="-")
    run = joke(brief, thread)
    assert reader.next_frame().data == {"run_id": run, "attempt": 1}


def test_a_reader_that_has_seen_all_of_what_is_gone_has_lost_nothing(brief: Server) -> None:
    thread = brief.new_thread()
    live = follow(brief, thread)
    joke(brief, thread)
    last = until_done(live)[-1]
    live.reset()
    assert eventually(lambda: expired(brief, thread))
    reader = follow(brief, thread, last_event_id=last.id)
    run = joke(brief, thread)
    assert reader.next_frame().data == {"run_id": run, "attempt": 1}


def test_a_reader_that_stays_loses_nothing_however_soon_streams_are_forgotten(
    brief: Server, engine: Engine, gate: Gate
) -> None:
    """Also not to a run that was cancelled while it waited for the one under way. Redis keeps that one until
    it has been told of in its turn; the memory of one process keeps it for those who stay."""
    thread, graph_input = brief.new_thread(), gate.input()
    reader = follow(brief, thread)
    run = background(brief, thread, "gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    node.say("one ")
    assert reader.next("messages").data[0]["content"] == "one "
    waiting = background(brief, thread, "joke", {"topic": "ice"})
    brief.post(f"/threads/{thread}/runs/{waiting}/cancel?wait=1")
    own = f"/threads/{thread}/runs/{waiting}/stream"
    if engine is EMBEDDED:
        assert eventually(lambda: "EventsExpired" in str(brief.join(own, "-1").rest()))
    else:
        assert outcomes(brief.join(own, "-1").rest()) == [(waiting, "interrupted")]
    node.say("two")
    assert reader.next_frame().data[0]["content"] == "two"
    node.finish()
    assert outcomes(until_done(reader, 2)) == [(run, "success"), (waiting, "interrupted")]


# ---------------------------------------------------------------- the end
def test_the_stream_of_a_deleted_thread_tells_of_its_runs_and_ends(
    server: Server, thread: str, gate: Gate
) -> None:
    reader, graph_input = follow(server, thread), gate.input()
    running = background(server, thread, "gate", graph_input)
    gate.node(graph_input)
    queued = background(server, thread, "joke", {"topic": "ice"})
    assert server.request("DELETE", f"/threads/{thread}").status == 204
    assert outcomes(reader.rest()) == [(running, "deleted"), (queued, "deleted")]
    assert reader.ended_by == "last chunk"
    assert server.request("GET", f"/threads/{thread}/stream").status == 404


def test_the_stream_of_a_quiet_thread_ends_when_it_is_deleted(server: Server, thread: str) -> None:
    reader = follow(server, thread, "?stream_modes=state_update")
    assert server.request("DELETE", f"/threads/{thread}").status == 204
    assert (reader.rest(), reader.ended_by) == ([], "last chunk")


def test_a_thread_that_is_made_again_under_its_old_id_shows_nothing_of_the_old_one(
    server: Server, thread: str
) -> None:
    joke(server, thread)
    assert server.request("DELETE", f"/threads/{thread}").status == 204
    server.post("/threads", {"thread_id": thread})
    reader = follow(server, thread, last_event_id="-")
    run = joke(server, thread)
    assert reader.next_frame().data == {"run_id": run, "attempt": 1}


@pytest.mark.parametrize("fields", [{}, {"after_seconds": 3600}], ids=["running", "waiting"])
def test_the_stream_of_a_hidden_thread_ends_with_its_run(
    server: Server, gate: Gate, fields: dict[str, Any]
) -> None:
    run = server.post("/runs", {"assistant_id": "gate", "input": gate.input(), **fields})
    reader = follow(server, run["thread_id"])
    server.post(f"/threads/{run['thread_id']}/runs/{run['run_id']}/cancel?wait=1")
    assert outcomes(reader.rest())[-1:] == [(run["run_id"], "interrupted")]
    assert reader.ended_by == "last chunk"


def test_a_server_that_stops_cuts_the_stream(start_server: RunningServer) -> None:
    server = start_server()
    reader = follow(server, server.new_thread())
    server.process.send_signal(signal.SIGTERM)
    assert (reader.rest(), reader.ended_by) == ([], "cut")
    assert server.process.wait(timeout=30) == 0
