"""Protocol v2 over a WebSocket, spoken by the `websockets` package (contract/protocol-v2.md 4, 10)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fix_gate import Gate
from fix_server import RunningServer, Server, stop
from fix_v2 import ALL, Event, begin, endings, ends_run, new_id, of, run, texts, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

SECONDS = 20.0


class Client:
    """One open socket; what comes is kept apart: answers by their id, events in their order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._events: list[Event] = []
        self._answers: dict[Any, Any] = {}
        self._id = 0

    def send(self, method: str, **params: Any) -> int:
        self._id += 1
        self.socket.send(json.dumps({"id": self._id, "method": method, "params": params}))
        return self._id

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        return self.answer(self.send(method, **params))

    def answer(self, command_id: int | None) -> dict[str, Any]:
        while command_id not in self._answers:
            self._read()
        return self._answers.pop(command_id)  # type: ignore[no-any-return]

    def subscribe(self, channels: list[str] | None = None, **fields: Any) -> str:
        found = self.command("subscription.subscribe", channels=channels or ALL, **fields)
        return str(found["result"]["subscription_id"])

    def events(self) -> Iterator[Event]:
        while True:
            while not self._events:
                self._read()
            yield self._events.pop(0)

    def _read(self) -> None:
        found = json.loads(self.socket.recv(SECONDS))
        if found["type"] == "event":
            self._events.append(found)
        else:
            self._answers[found["id"]] = found


@contextmanager
def opened(server: Server, thread: str, **settings: Any) -> Iterator[Client]:
    url = f"ws://127.0.0.1:{server.port}/threads/{thread}/stream/events"
    with connect(url, **settings) as socket:
        yield Client(socket)


def test_a_run_is_started_and_followed(server: Server) -> None:
    with opened(server, new_id()) as client:
        client.subscribe()
        chat = {"messages": [{"role": "user", "content": "hi"}]}
        run_id = client.command("run.start", assistant_id="chat", input=chat)["result"]["run_id"]
        events = until(client.events())
    assert events[0]["event_id"] == f"synth:{run_id}:lc||running"
    assert list(texts(events).values()) == ["Hello you", "canned reply"]
    assert endings(events) == ["completed"]


def test_it_tells_the_same_events_as_a_stream(server: Server) -> None:
    thread = new_id()
    live = run(server, "subg", {"topic": "ice"}, thread)
    with opened(server, thread) as client:
        client.subscribe()
        assert until(client.events()) == live
    with opened(server, thread) as client:
        client.subscribe(since=live[10]["seq"])
        assert until(client.events()) == live[11:]


def test_an_interrupt_is_answered(server: Server) -> None:
    with opened(server, new_id()) as client:
        client.subscribe()
        client.command("run.start", assistant_id="intr", input={"x": "1"})
        [asked] = of(until(client.events()), "input.requested")
        client.command("input.respond", interrupt_id=asked["interrupt_id"], response="yes")
        assert of(until(client.events()), "values")[-1]["log"] == ["start:st", "ask:yes", "finish"]


def test_subscriptions_come_and_go(server: Server) -> None:
    thread = new_id()
    with opened(server, thread) as client:
        client.subscribe(["lifecycle"])
        second = client.subscribe(["lifecycle"])
        begin(server, thread, "echo", {})
        assert endings(until(client.events(), times=2)) == ["completed"] * 2
        assert client.command("subscription.unsubscribe", subscription_id=second)["type"] == "success"
        gone = client.command("subscription.unsubscribe", subscription_id=second)
        assert gone["error"] == "no_such_subscription"
        begin(server, thread, "echo", {})
        events = client.events()
        assert [next(events)["params"]["data"]["event"] for _ in range(2)] == ["running", "completed"]


def test_there_are_only_so_many_subscriptions(server: Server) -> None:
    with opened(server, new_id()) as client:
        for _ in range(32):
            client.subscribe(["lifecycle"])
        refused = client.command("subscription.subscribe", channels=["lifecycle"])
        assert refused["error"] == "invalid_argument"


@pytest.mark.parametrize(
    ("text", "command_id"),
    [("not json", None), ('{"channels": ["values"]}', None), ("[]", None), ('{"id": 5}', 5), ("", None)],
)
def test_what_is_no_command_is_refused_and_the_socket_goes_on(
    server: Server, text: str, command_id: int | None
) -> None:
    with opened(server, new_id()) as client:
        client.socket.send(text)
        assert client.answer(command_id)["error"] == "invalid_argument"
        assert client.command("agent.getTree")["error"] == "no_such_run"


def test_an_id_that_is_no_uuid_closes_the_socket_for_good(server: Server) -> None:
    with opened(server, "nope") as client:
        assert client.answer(None)["error"] == "invalid_argument"
        with pytest.raises(ConnectionClosed) as closed:
            client.socket.recv(SECONDS)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4422


def test_pages_of_other_origins_are_refused(start_server: RunningServer) -> None:
    server = start_server(GRAPHWIRE_CORS_ALLOW_ORIGINS="https://mine.example")
    with opened(server, new_id(), origin="https://mine.example") as client:
        client.subscribe(["values"])
    with opened(server, new_id()) as client:
        client.subscribe(["values"])
    with pytest.raises(InvalidStatus), opened(server, new_id(), origin="https://evil.example"):
        pass


def test_a_socket_has_the_id_of_a_request(server: Server) -> None:
    thread = new_id()
    with opened(server, thread, additional_headers={"x-request-id": "mine"}) as client:
        client.subscribe(["lifecycle"])
        client.command("run.start", assistant_id="echo", input={})
        until(client.events())
        response = client.socket.response
        assert response is not None
        assert response.headers["x-request-id"] == "mine"
    [found] = server.get(f"/threads/{thread}/runs")
    assert found["kwargs"]["config"]["configurable"]["langgraph_request_id"] == "mine"


def test_a_server_that_stops_breaks_the_socket_off(start_server: RunningServer, gate: Gate) -> None:
    """A clean end would be that of the run."""
    server = start_server(BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="1")
    held = gate.input()
    with opened(server, new_id()) as client:
        client.subscribe(["lifecycle"])
        client.command("run.start", assistant_id="gate", input=held)
        gate.node(held)
        stop(server)
        with pytest.raises(ConnectionClosed) as closed:
            until(client.events(), ends_run)
    assert closed.value.rcvd is None


def test_a_client_that_does_not_read_is_cut_off(start_server: RunningServer, gate: Gate) -> None:
    server = start_server(GRAPHWIRE_SEND_TIMEOUT_SECONDS="1")
    thread, lazy_thread = new_id(), new_id()
    big = {"messages": [{"role": "user", "content": "x" * 200_000}]}
    with opened(server, lazy_thread, max_queue=1) as lazy, opened(server, thread) as client:
        lazy.subscribe(["values"])
        for _ in range(8):  # each state holds all messages before: 40 MB, more than sockets keep
            run(server, "chat", big, lazy_thread)
        client.subscribe()
        client.command("run.start", assistant_id="echo", input={})
        assert endings(until(client.events())) == ["completed"]  # others do not notice
        with pytest.raises(ConnectionClosed):
            until(lazy.events(), times=100)
