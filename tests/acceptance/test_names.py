"""A call that is repeated under the same name does not start a second run, whatever happened in between."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import wire
from fix_engine import SOON_MISSED, Engine
from fix_gate import Gate
from fix_server import RunningServer, Server, eventually, run_of, start, stop

KINDS = ["create", "stream", "wait"]
PLACES = ["thread", "stateless"]
NAMES = ["run_id", "key"]
everywhere = pytest.mark.parametrize("place", PLACES)
every_kind = pytest.mark.parametrize("kind", KINDS)
both_names = pytest.mark.parametrize("name", NAMES)


class Call:
    """A request that starts a run under a name of the client's choice, and may be made again."""

    def __init__(self, server: Server, place: str, name: str, graph: str = "joke", **fields: Any) -> None:
        self.server = server
        self.thread = server.new_thread() if place == "thread" else None
        self.name = str(uuid4())
        self.body = {"assistant_id": graph, "input": {"topic": "ice"}, **fields}
        self.headers = {}
        if name == "key":
            self.headers["Idempotency-Key"] = self.name
        else:
            self.body["run_id"] = self.name

    def make(self, kind: str = "create", server: Server | None = None, **other: Any) -> wire.Response:
        base = f"/threads/{self.thread}/runs" if self.thread else "/runs"
        path = base if kind == "create" else f"{base}/{kind}"
        to = server or self.server
        return to.request("POST", path, {**self.body, **other}, headers=self.headers)

    def runs(self) -> list[dict[str, Any]]:
        return list(self.server.get(f"/threads/{self.thread}/runs"))


def run_id(answer: wire.Response) -> str:
    assert answer.status == 200, answer.body()
    return run_of(answer).rsplit("/", 1)[1]


def refused(answer: wire.Response) -> tuple[int, str]:
    return answer.status, answer.json()["detail"]


@pytest.fixture
def restart(tmp_path: Path, engine: Engine) -> Iterator[Callable[[], Server]]:
    """Start a server, killing the one before."""
    started: list[Server] = []

    def kill_and_start() -> Server:
        if started:
            started[-1].process.kill()
            started[-1].process.wait()
        started.append(start(tmp_path, engine=engine, **SOON_MISSED))
        return started[-1]

    yield kill_and_start
    for server in started:
        stop(server)


# ---------------------------------------------------------------- the same run
@everywhere
@every_kind
def test_a_run_has_the_id_that_the_client_chose(server: Server, place: str, kind: str) -> None:
    call = Call(server, place, "run_id")
    assert run_id(call.make(kind)) == call.name


@everywhere
@both_names
@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("again", KINDS)
def test_a_repeated_call_finds_the_run_of_the_first_one(
    server: Server, gate: Gate, place: str, name: str, first: str, again: str
) -> None:
    graph_input = gate.input()
    call = Call(server, place, name, "gate", input=graph_input)
    made = call.make(first)
    node = gate.node(graph_input)
    found = call.make(again)
    assert run_id(found) == run_id(made)
    assert found.header("location") == (call.make(again).header("location"))
    node.finish()
    if again == "wait":
        assert found.json()["done"] is True
    if again == "stream":
        assert found.rest()[-1].data["done"] is True
    assert not gate.started(graph_input)


@both_names
@pytest.mark.parametrize("kind", ["stream", "wait"])
@everywhere
def test_a_repeated_call_has_the_locations_of_the_first_one(
    server: Server, place: str, name: str, kind: str
) -> None:
    call = Call(server, place, name)
    made, found = call.make(kind), call.make(kind)
    for header in ("location", "content-location"):
        assert made.header(header)
        assert found.header(header) == made.header(header)


@everywhere
@both_names
def test_a_repeated_stream_is_the_same_from_its_beginning(server: Server, place: str, name: str) -> None:
    call = Call(server, place, name, stream_mode=["values", "updates", "messages-tuple"])
    once, again = call.make("stream").rest(), call.make("stream").rest()
    assert len(once) > 4
    assert [frame.raw for frame in again] == [frame.raw for frame in once]


@everywhere
@both_names
def test_a_repeated_wait_has_the_same_result(server: Server, place: str, name: str) -> None:
    call = Call(server, place, name)
    assert call.make("wait").json() == call.make("wait").json() == {"topic": "ice", "joke": "Why ice? Ha!"}


@both_names
def test_a_repeated_creation_tells_how_the_run_has_ended(server: Server, name: str) -> None:
    call = Call(server, "thread", name)
    call.make("wait").body()
    assert call.make().json()["status"] == "success"
    assert len(call.runs()) == 1


@both_names
def test_a_run_that_failed_is_not_started_again(server: Server, name: str) -> None:
    call = Call(server, "thread", name, "boom", input={"how": "first"})
    once, again = call.make("wait").json(), call.make("wait").json()
    assert once == again == {"__error__": {"error": "ValueError", "message": "first node failed"}}
    assert len(call.runs()) == 1


@both_names
@everywhere
def test_of_fifty_calls_at_once_one_starts_a_run(server: Server, gate: Gate, place: str, name: str) -> None:
    graph_input = gate.input()
    call = Call(server, place, name, "gate", input=graph_input)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda number: call.make(KINDS[number % 3]), range(50)))
    assert len({run_id(answer) for answer in answers}) == 1
    gate.node(graph_input).finish()
    for answer in answers[1::3]:
        assert answer.rest()[-1].data["done"] is True
    for answer in answers[2::3]:
        assert answer.json()["done"] is True
    assert not gate.started(graph_input)


def test_the_order_of_the_fields_does_not_matter(server: Server) -> None:
    call = Call(server, "thread", "run_id", metadata={"a": 1, "b": 2})
    made = run_id(call.make())
    call.body = dict(reversed(call.body.items()))
    call.body["metadata"] = {"b": 2, "a": 1}
    assert run_id(call.make()) == made


def test_both_names_together_stand_for_one_run(server: Server) -> None:
    call = Call(server, "thread", "run_id")
    call.headers["Idempotency-Key"] = str(uuid4())
    made = run_id(call.make())
    assert run_id(call.make()) == made
    del call.body["run_id"]
    assert run_id(call.make()) == made


def test_a_name_that_is_told_later_stands_for_the_run_too(server: Server) -> None:
    call = Call(server, "thread", "run_id")
    made = run_id(call.make())
    call.headers["Idempotency-Key"] = key = str(uuid4())
    assert run_id(call.make()) == made
    other = Call(server, "thread", "key")
    other.headers["Idempotency-Key"] = key
    assert other.make().status == 422


# ---------------------------------------------------------------- another request
@every_kind
@everywhere
@pytest.mark.parametrize(("name", "status"), [("run_id", 409), ("key", 422)])
def test_another_request_under_the_name_is_refused(
    server: Server, place: str, kind: str, name: str, status: int
) -> None:
    call = Call(server, place, name)
    call.make("wait").body()
    found, detail = refused(call.make(kind, input={"topic": "fire"}))
    assert (found, detail.partition(":")[0]) == (status, "run_id" if name == "run_id" else "Idempotency-Key")


@pytest.mark.parametrize(("name", "status"), [("run_id", 409), ("key", 422)])
@pytest.mark.parametrize("place", PLACES)
def test_the_name_on_another_thread_is_refused(server: Server, name: str, status: int, place: str) -> None:
    call = Call(server, place, name)
    call.make().body()
    call.thread = server.new_thread()
    assert call.make().status == status


def test_a_key_does_not_stand_for_a_run_of_another_id(server: Server) -> None:
    call = Call(server, "thread", "key")
    call.make().body()
    assert call.make(run_id=str(uuid4())).status == 422
    assert len(call.runs()) == 1


def test_a_run_id_does_not_stand_for_the_run_of_another_key(server: Server) -> None:
    one, other = (Call(server, "thread", "key") for _ in range(2))
    other.thread = one.thread
    made = run_id(one.make())
    other.make().body()
    assert other.make(run_id=made).status == 422
    other.headers = {"Idempotency-Key": str(uuid4())}
    assert other.make(run_id=made).status == 409


def test_the_id_of_a_run_that_the_server_named_is_taken(server: Server) -> None:
    call = Call(server, "thread", "run_id")
    taken = run_id(server.stream("joke", {"topic": "ice"}, call.thread))
    assert refused(call.make(run_id=taken)) == (409, f"run_id: there is a run {taken} already")


def test_the_id_of_a_run_that_vanished_is_taken_while_its_stream_is_held(server: Server) -> None:
    stream = server.stream("joke", {"topic": "ice"}, thread=None)
    taken = run_id(stream)
    stream.rest()
    assert Call(server, "stateless", "run_id").make(run_id=taken).status == 409


@pytest.mark.parametrize("value", ["x", "", 1, "00000000-0000-0000-0000-00000000000g"])
def test_a_run_id_must_be_a_uuid(server: Server, value: Any) -> None:
    status, detail = refused(Call(server, "thread", "run_id").make(run_id=value))
    assert (status, detail.partition(":")[0]) == (422, "run_id")


def test_a_run_id_may_be_written_in_any_case(server: Server) -> None:
    call = Call(server, "thread", "run_id")
    made = run_id(call.make(run_id=call.name.upper()))
    assert (made, run_id(call.make())) == (call.name, call.name)


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\tb"], ids=["empty", "long", "umlaut", "tab"])
@pytest.mark.parametrize("path", ["/runs", "/runs/stream", "/runs/wait", "/runs/batch"])
def test_a_key_is_short_printable_ascii(server: Server, key: str, path: str) -> None:
    body: Any = {"assistant_id": "joke", "input": {"topic": "ice"}}
    body = [body] if path.endswith("batch") else body
    answer = server.request("POST", path, body, headers={"Idempotency-Key": key})
    status, detail = refused(answer)
    assert (status, detail.partition(":")[0]) == (422, "Idempotency-Key")


@pytest.mark.parametrize("key", ["x", "x" * 255, "a b~!"])
def test_a_key_may_be_anything_else(server: Server, key: str) -> None:
    call = Call(server, "thread", "key")
    call.headers["Idempotency-Key"] = key if len(key) == 255 else f"{key}{uuid4()}"
    assert run_id(call.make()) == run_id(call.make())
    call.headers.clear()


# ---------------------------------------------------------------- batches
def test_items_of_a_batch_may_have_names(server: Server) -> None:
    items = [{"assistant_id": "joke", "input": {"topic": "ice"}, "run_id": str(uuid4())} for _ in range(3)]
    names = [item["run_id"] for item in items]
    for _ in range(2):
        assert [run["run_id"] for run in server.post("/runs/batch", items)] == names
    items[1]["input"] = {"topic": "fire"}
    assert server.request("POST", "/runs/batch", items).status == 409


def test_an_item_that_stands_twice_in_a_batch_is_one_run(server: Server) -> None:
    item = {"assistant_id": "joke", "input": {"topic": "ice"}, "run_id": str(uuid4())}
    runs = server.post("/runs/batch", [item, item])
    assert runs[0]["run_id"] == runs[1]["run_id"] == item["run_id"]
    assert runs[0]["thread_id"] == runs[1]["thread_id"]


def test_a_batch_under_a_key_is_started_once(server: Server) -> None:
    items = [{"assistant_id": "joke", "input": {"topic": "ice"}} for _ in range(2)]
    headers = {"Idempotency-Key": str(uuid4())}
    answers = [server.request("POST", "/runs/batch", items, headers=headers).json() for _ in range(2)]
    ids = [[run["run_id"] for run in runs] for runs in answers]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2
    items[1]["input"] = {"topic": "fire"}
    assert server.request("POST", "/runs/batch", items, headers=headers).status == 422


# ---------------------------------------------------------------- runs that are gone
@pytest.fixture(scope="module")
def forgetful(start_server: RunningServer) -> Server:
    return start_server(RESUMABLE_STREAM_TTL_SECONDS="0")


@both_names
@pytest.mark.parametrize("kind", ["stream", "wait"])
def test_a_run_that_vanished_answers_again_while_its_stream_is_held_and_never_starts_again(
    forgetful: Server, name: str, kind: str
) -> None:
    call = Call(forgetful, "stateless", name)
    made = call.make(kind)
    once, again = made.body(), call.make(kind)
    assert (run_id(again), again.body()) == (run_id(made), once)
    assert eventually(lambda: call.make().status == 409)
    assert "is gone" in call.make(kind).json()["detail"]


def test_a_run_that_was_rolled_back_is_not_started_again(forgetful: Server, gate: Gate) -> None:
    graph_input = gate.input()
    call = Call(forgetful, "thread", "run_id", "gate", input=graph_input)
    call.make().body()
    gate.node(graph_input)
    forgetful.post(f"/threads/{call.thread}/runs/{call.name}/cancel?action=rollback&wait=1")
    assert call.make("stream").rest()[-1].data["outcome"] == "rolled_back"
    assert call.make("wait").json()["__run__"]["outcome"] == "rolled_back"
    assert eventually(lambda: call.make().status == 409)
    assert call.runs() == []
    assert not gate.started(graph_input)


def test_a_run_whose_stream_is_no_longer_held_still_tells_its_result(forgetful: Server) -> None:
    call = Call(forgetful, "thread", "run_id")
    call.make("wait").body()
    assert eventually(lambda: call.make("stream").rest()[-1].event == "error")
    assert call.make("stream").rest()[-1].data["error"] == "EventsExpired"
    assert call.make("wait").json() == {"topic": "ice", "joke": "Why ice? Ha!"}
    assert call.make().json()["status"] == "success"


@both_names
@everywhere
def test_a_call_repeated_after_a_kill_finds_its_run_again(
    restart: Callable[[], Server], gate: Gate, place: str, name: str
) -> None:
    graph_input = gate.input()
    call = Call(restart(), place, name, "gate", input=graph_input)
    made = run_id(call.make("stream"))
    gate.node(graph_input)
    server = restart()
    streams, waits = ([call.make(kind, server) for _ in range(5)] for kind in ("stream", "wait"))
    assert {run_id(answer) for answer in (*streams, *waits)} == {made}
    gate.node(graph_input).finish()
    for stream in streams:
        frames = stream.rest()
        begun = [frame.data for frame in frames if frame.event == "metadata"]  # Redis holds the first, too
        assert (begun[-1], frames[-1].data["done"]) == ({"run_id": made, "attempt": 2}, True)
    assert [wait.json()["done"] for wait in waits] == [True] * 5
    assert not gate.started(graph_input)


def test_a_call_repeated_after_a_kill_finds_the_result_of_a_run_that_has_ended(
    restart: Callable[[], Server],
) -> None:
    call = Call(restart(), "thread", "key")
    once = call.make("wait").json()
    call.server = restart()
    assert call.make("wait").json() == once
    assert len(call.runs()) == 1


# ---------------------------------------------------------------- cancels that came first
def cancel_early(call: Call) -> None:
    answer = call.server.request("POST", f"/threads/{call.thread or uuid4()}/runs/{call.name}/cancel")
    assert refused(answer) == (404, "No runs found to cancel.")


@everywhere
def test_a_run_whose_cancel_came_first_never_begins_and_says_so(
    server: Server, gate: Gate, place: str
) -> None:
    graph_input = gate.input()
    call = Call(server, place, "run_id", "gate", input=graph_input, on_completion="keep")
    cancel_early(call)
    made = call.make().json()
    assert (made["run_id"], made["status"]) == (call.name, "interrupted")
    assert made["reason"] == "cancelled before it was created"
    frames = call.make("stream").rest()
    told = {"outcome": "interrupted", "reason": "cancelled before it was created"}
    assert [frame.data for frame in frames] == [{"status": "run_done", "run_id": call.name, **told}]
    assert call.make("wait").json()["__run__"]["outcome"] == "interrupted"
    assert server.get(f"/threads/{made['thread_id']}")["status"] == "idle"
    assert not gate.started(graph_input)


@pytest.mark.parametrize("kind", ["stream", "wait"])
@everywhere
def test_whoever_watches_or_waits_is_told_too(server: Server, place: str, kind: str) -> None:
    call = Call(server, place, "run_id")
    cancel_early(call)
    answer = call.make(kind)
    told = answer.rest()[-1].data if kind == "stream" else answer.json()["__run__"]
    assert (told["status"], told["outcome"]) == ("run_done", "interrupted")


def test_an_early_cancel_stops_one_run_and_no_other(server: Server) -> None:
    call, other = (Call(server, "thread", "run_id") for _ in range(2))
    other.thread = call.thread
    cancel_early(call)
    assert other.make("wait").json()["joke"] == "Why ice? Ha!"
    assert call.make().json()["status"] == "interrupted"
    assert Call(server, "thread", "key").make("wait").json()["joke"] == "Why ice? Ha!"


def test_an_early_cancel_leaves_a_busy_thread_as_it_is(server: Server, gate: Gate) -> None:
    graph_input = gate.input()
    call = Call(server, "thread", "run_id", multitask_strategy="interrupt")
    running = server.stream("gate", graph_input, call.thread)
    node = gate.node(graph_input)
    cancel_early(call)
    assert call.make().json()["status"] == "interrupted"
    assert server.get(f"/threads/{call.thread}")["status"] == "busy"
    node.finish()
    assert running.rest()[-1].data["done"] is True


def test_an_early_cancel_survives_a_kill(restart: Callable[[], Server]) -> None:
    call = Call(restart(), "thread", "run_id")
    cancel_early(call)
    call.server = restart()
    assert call.make().json()["status"] == "interrupted"


def test_the_cancel_of_a_run_that_was_there_is_not_kept(server: Server) -> None:
    stream = server.stream("joke", {"topic": "ice"}, thread=None)
    vanished = run_id(stream)
    stream.rest()
    thread = server.new_thread()
    answer = server.request("POST", f"/threads/{thread}/runs/{vanished}/cancel")
    assert refused(answer) == (404, "No runs found to cancel.")


def test_a_run_that_is_there_is_not_cancelled_on_the_path_of_another_thread(
    server: Server, gate: Gate
) -> None:
    graph_input = gate.input()
    call = Call(server, "thread", "run_id", "gate", input=graph_input)
    stream = call.make("stream")
    node = gate.node(graph_input)
    answer = server.request("POST", f"/threads/{server.new_thread()}/runs/{call.name}/cancel")
    assert answer.status == 404
    node.finish()
    assert stream.rest()[-1].data["done"] is True
