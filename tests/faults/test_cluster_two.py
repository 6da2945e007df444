"""Two API processes and two workers on one PostgreSQL and one Redis: it is all the same which is asked."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import wire
from fix_cluster import Cluster
from fix_gate import Gate
from fix_server import CONFIG, Server, run_of

FAULTS = CONFIG.with_name("faults.json")
CANCEL_SECONDS = 0.5  # 100 ms for code that does not listen; the rest is for a machine that does much at once

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def cluster(start_cluster: Callable[..., Cluster]) -> Cluster:
    return start_cluster(apis=2, workers=2, config=FAULTS)


@pytest.fixture(params=[0, 1], ids=["first-then-second", "second-then-first"])
def pair(cluster: Cluster, request: pytest.FixtureRequest) -> tuple[Server, Server]:
    """The server where runs begin, and the other."""
    one, other = cluster.servers
    return (other, one) if request.param else (one, other)


def tokens(frames: list[wire.Frame]) -> list[str]:
    found = [frame.data[0]["content"] for frame in frames if frame.event == "messages"]
    return [token for token in found if token]


def seen(frames: list[wire.Frame]) -> list[tuple[str, str, Any]]:
    return [(frame.id, frame.event, frame.data) for frame in frames]


def test_a_thread_that_one_makes_the_other_knows(pair: tuple[Server, Server]) -> None:
    one, other = pair
    thread = one.new_thread()
    assert other.get(f"/threads/{thread}")["thread_id"] == thread
    assert other.wait("echo", {"data": "x"}, thread) == one.get(f"/threads/{thread}/state")["values"]


def test_a_run_of_one_is_streamed_by_the_other_while_it_goes_on(
    pair: tuple[Server, Server], gate: Gate
) -> None:
    one, other = pair
    graph_input = gate.input()
    first = one.stream("gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    node.say("one ")
    said = [first.next("metadata"), first.next("messages")]
    second = other.join(f"{run_of(first)}/stream", "-1")
    for frame in said:
        assert second.next_frame() == frame
    node.say("two ")
    assert first.next("messages") == second.next("messages")
    node.finish()
    assert seen(first.rest()) == seen(second.rest())
    assert (first.ended_by, second.ended_by) == ("last chunk", "last chunk")


def test_a_reader_that_was_cut_goes_on_at_the_other_where_it_was(
    pair: tuple[Server, Server], gate: Gate
) -> None:
    one, other = pair
    graph_input = gate.input()
    stream = one.stream("gate", graph_input, stream_mode="messages-tuple")
    run, frames = run_of(stream), [stream.next_frame()]
    node = gate.node(graph_input)
    for number in range(20):
        node.say(f"{number} ")
        frames.append(stream.next("messages"))
        stream.reset()
        one, other = other, one
        stream = one.join(f"{run}/stream", frames[-1].id)
    node.finish()
    frames += stream.rest()
    assert tokens(frames) == [f"{number} " for number in range(20)]
    late = other.join(f"{run}/stream", "-1").rest()
    assert seen(late) == seen(frames)


def test_a_late_reader_gets_everything_and_whoever_waits_the_values(
    pair: tuple[Server, Server], gate: Gate
) -> None:
    one, other = pair
    graph_input = gate.input()
    waiting = one.request(
        "POST", f"/threads/{one.new_thread()}/runs/wait", {"assistant_id": "gate", "input": graph_input}
    )
    run = run_of(waiting)
    joining = other.request("GET", f"{run}/join")
    node = gate.node(graph_input)
    node.say("said")
    node.finish()
    values = waiting.json()
    assert (values["out"], values["done"]) == ("said", True)
    assert joining.json() == values
    assert other.get(f"{run}/join") == values == one.get(f"{run}/join")
    assert other.get(run)["status"] == "success"
    frames = other.join(f"{run}/stream", "-1").rest()
    assert seen(frames) == seen(one.join(f"{run}/stream", "-1").rest())
    assert frames[0].event == "metadata"


def test_a_reader_goes_on_where_it_was_though_redis_is_away_for_a_moment(
    start_cluster: Callable[..., Cluster], gate: Gate
) -> None:
    cluster, graph_input = start_cluster(apis=2, workers=1, config=FAULTS), gate.input()
    one, other = cluster.servers
    stream = one.stream("gate", graph_input, stream_mode="messages-tuple")
    frames = [stream.next_frame()]
    node = gate.node(graph_input)
    node.say("one ")
    frames.append(stream.next("messages"))
    stream.reset()
    with cluster.to_redis.cut():
        again = other.join(f"{run_of(stream)}/stream", frames[-1].id)
        node.say("two ")
    frames.append(again.next_frame())
    node.finish()
    frames += again.rest()
    assert tokens(frames) == ["one ", "two "]


def test_an_interrupt_that_one_tells_is_answered_at_the_other(pair: tuple[Server, Server]) -> None:
    one, other = pair
    thread = one.new_thread()
    stream = one.stream("quiz", {"questions": 4}, thread, stream_mode="updates")
    for number in range(4):
        while "__interrupt__" not in (frame := stream.next("updates")).data:
            pass
        assert frame.data["__interrupt__"][0]["value"] == {"question": number}
        stream.reset()
        one, other = other, one
        stream = one.stream(
            "quiz",
            None,
            thread,
            stream_mode="updates",
            multitask_strategy="reject",
            command={"resume": f"answer {number}"},
        )
    stream.rest()
    state = other.get(f"/threads/{thread}/state")
    assert state["values"]["answers"] == [f"answer {number}" for number in range(4)]
    assert one.get(f"/threads/{thread}")["status"] == "idle"


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
def test_a_cancel_at_the_other_stops_a_run_at_once(
    pair: tuple[Server, Server], gate: Gate, action: str
) -> None:
    one, other = pair
    graph_input = gate.input()
    stream = one.stream("gate", graph_input)
    node = gate.node(graph_input)
    before = time.monotonic()
    other.post(f"{run_of(stream)}/cancel?wait=1&action={action}")
    assert time.monotonic() - before < CANCEL_SECONDS
    assert node.hear() == "cancelled"
    stream.rest()
    assert stream.ended_by == "last chunk"
    assert time.monotonic() - before < CANCEL_SECONDS
    thread = one.get(f"/threads/{run_of(stream).split('/')[2]}")
    assert thread["status"] in ("idle", "interrupted")


def test_a_thread_is_followed_at_the_other(pair: tuple[Server, Server], gate: Gate) -> None:
    one, other = pair
    thread = one.new_thread()
    readers = [server.join(f"/threads/{thread}/stream") for server in pair]
    ran = []
    for number in range(4):
        graph_input = gate.input()
        stream = (one, other)[number % 2].stream("gate", graph_input, thread, stream_mode="messages-tuple")
        ran.append(run_of(stream).split("/")[4])
        node = gate.node(graph_input)
        node.say(f"{number} ")
        node.finish()
        stream.rest()
    heard = []
    for reader in readers:
        frames: list[wire.Frame] = []
        while sum(frame.data.get("status") == "run_done" for frame in metadata(frames)) < 4:
            frames.append(reader.next_frame())
        reader.reset()
        heard.append(frames)
    assert seen(heard[0]) == seen(heard[1])
    assert tokens(heard[0]) == [f"{number} " for number in range(4)]
    done = [frame.data["run_id"] for frame in metadata(heard[0]) if frame.data.get("status") == "run_done"]
    assert done == ran
    ids = [frame.order for frame in heard[0]]
    assert ids == sorted(set(ids))
    # and after a place, at whichever
    place = heard[0][len(heard[0]) // 2]
    for server in pair:
        reader = server.join(f"/threads/{thread}/stream", place.id)
        rest = heard[0][len(heard[0]) // 2 + 1 :]
        assert seen([reader.next_frame() for _ in rest]) == seen(rest)
        reader.reset()


def metadata(frames: list[wire.Frame]) -> list[wire.Frame]:
    return [frame for frame in frames if frame.event == "metadata"]


def test_deleting_a_thread_at_the_other_stops_its_run(pair: tuple[Server, Server], gate: Gate) -> None:
    one, other = pair
    graph_input = gate.input()
    stream = one.stream("gate", graph_input)
    thread = run_of(stream).split("/")[2]
    node = gate.node(graph_input)
    assert other.request("DELETE", f"/threads/{thread}").status == 204
    assert node.hear() == "cancelled"
    stream.rest()
    assert one.request("GET", f"/threads/{thread}").status == 404


# ---------------------------------------------------------------- beside each other
def test_two_projects_on_one_database_and_one_redis_do_not_see_each_other(
    start_cluster: Callable[..., Cluster], cluster: Cluster, gate: Gate
) -> None:
    foreign = start_cluster(apis=1, workers=1, config=FAULTS)
    ours, theirs = cluster.servers[0], foreign.servers[0]
    graph_input = gate.input()
    stream = ours.stream("gate", graph_input)
    run, thread = run_of(stream), run_of(stream).split("/")[2]
    gate.node(graph_input)
    cron = {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": {}}
    ours.post(f"/threads/{thread}/runs/crons", cron)
    for path in (f"/threads/{thread}", run, f"{run}/stream", f"{run}/join", f"/threads/{thread}/stream"):
        assert theirs.request("GET", path).status == 404, path
    assert theirs.request("POST", f"{run}/cancel").status == 404
    assert theirs.post("/threads/search", {"limit": 100}) == []
    assert theirs.post("/runs/crons/search", {}) == []
    # Even a run, a thread and a stream of the same name are two.
    theirs.post("/threads", {"thread_id": thread})
    follower = theirs.join(f"/threads/{thread}/stream")
    their_input = gate.input()
    their_stream = theirs.stream("gate", their_input, thread)
    node = gate.node(their_input)
    ours.post(f"{run}/cancel?wait=1")
    stream.rest()
    assert node.is_silent()
    node.finish()
    their_run = run_of(their_stream).split("/")[4]
    assert their_stream.rest()[-1].data["done"] is True
    frames = []
    while not frames or frames[-1].data.get("status") != "run_done":
        frames.append(follower.next_frame())
    assert {frame.data["run_id"] for frame in metadata(frames)} == {their_run}
    assert foreign.rows.value("SELECT count(*) FROM runs") == 1
    assert foreign.rows.value("SELECT count(*) FROM crons") == 0
