"""Protocol v2 on a raw socket: commands that must succeed, events until something has happened."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import wire
from fix_server import Server

Event = dict[str, Any]
ALL = ["values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"]
TERMINAL = ("completed", "failed", "interrupted")


def new_id() -> str:
    """A thread that nobody has made yet."""
    return str(uuid4())


def command(server: Server, thread: str, method: str, **params: Any) -> dict[str, Any]:
    """What a command answers, whatever that is."""
    found = server.post(f"/threads/{thread}/commands", {"id": 7, "method": method, "params": params})
    assert found["id"] == 7
    return found  # type: ignore[no-any-return]


def ask(server: Server, thread: str, method: str, **params: Any) -> dict[str, Any]:
    """The result of a command, which must succeed."""
    found = command(server, thread, method, **params)
    assert found["type"] == "success", found
    return found["result"]  # type: ignore[no-any-return]


def begin(server: Server, thread: str, graph: str, graph_input: Any, **params: Any) -> str:
    """Start a run; its id."""
    return str(ask(server, thread, "run.start", assistant_id=graph, input=graph_input, **params)["run_id"])


def subscribe(server: Server, thread: str, channels: list[str] | None = None, **fields: Any) -> wire.Response:
    body = {"channels": channels or ALL, **fields}
    response = server.request("POST", f"/threads/{thread}/stream/events", body)
    assert response.status == 200, response.body()
    assert (response.header("content-type") or "").startswith("text/event-stream")
    return response


def checked(frames: Iterator[wire.Frame]) -> Iterator[Event]:
    """The envelopes in frames: each frame says what its envelope says, and numbers increase."""
    last = -1
    for frame in frames:
        event = frame.data
        assert (frame.event, frame.id) == (event["method"], str(event["seq"]))
        assert event["type"] == "event"
        assert event["seq"] > last, f"{event} after {last}"
        last = event["seq"]
        yield event


def ends_run(event: Event) -> bool:
    params = event["params"]
    terminal = event["method"] == "lifecycle" and params["data"]["event"] in TERMINAL
    return terminal and params["namespace"] == []


def until(events: Iterator[Event], last: Callable[[Event], bool] = ends_run, times: int = 1) -> list[Event]:
    """The events up to and including the one that is looked for, or the so-manieth of them."""
    found: list[Event] = []
    for event in events:
        found.append(event)
        times -= last(event)
        if times == 0:
            return found
    raise AssertionError("the stream ended")


@contextmanager
def watching(
    server: Server, thread: str, channels: list[str] | None = None, **fields: Any
) -> Iterator[Iterator[Event]]:
    """The events of a thread, while the block is entered."""
    response = subscribe(server, thread, channels, **fields)
    try:
        yield checked(response.frames())
    finally:
        response.reset()


def replay(server: Server, thread: str, runs: int = 1, **fields: Any) -> list[Event]:
    """All that is held of a thread whose runs have ended."""
    with watching(server, thread, **fields) as events:
        return until(events, times=runs)


def run(
    server: Server, graph: str, graph_input: Any, thread: str | None = None, **params: Any
) -> list[Event]:
    """A run from its beginning to its end, as one who watched from before it sees it."""
    thread = thread or new_id()
    with watching(server, thread, since=seq(server, thread)) as events:
        begin(server, thread, graph, graph_input, **params)
        return until(events)


def seq(server: Server, thread: str) -> int:
    """The number behind which everything is new."""
    found = command(server, thread, "subscription.subscribe", channels=["values"])
    return int(found["meta"]["applied_through_seq"])


def of(events: list[Event], method: str, namespace: list[str] | None = None) -> list[Any]:
    """The data of the events of one method, at one namespace if it is given."""
    return [
        event["params"]["data"]
        for event in events
        if event["method"] == method and namespace in (None, event["params"]["namespace"])
    ]


def texts(events: list[Event]) -> dict[str, str]:
    """The text of each message, by its id, put together from what was streamed."""
    found: dict[str, str] = {}
    for data in of(events, "messages"):
        if data["event"] == "message-start":
            assert data["id"] not in found, "began twice"
            found[data["id"]] = ""
        elif data["event"] == "content-block-delta" and data["delta"]["type"] == "text-delta":
            found[data["id"]] += data["delta"]["text"]
    return found


def endings(events: list[Event]) -> list[str]:
    return [event["params"]["data"]["event"] for event in events if ends_run(event)]
