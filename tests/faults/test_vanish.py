"""Two hundred clients that vanish in the middle: runs end as they asked, and nothing of them stays behind."""

import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
import wire
from fix_gate import Gate, Node
from fix_server import CONFIG, RunningServer, Server, eventually, run_of

CLIENTS = 200
AT_ONCE = 16
STOP_SECONDS = 2.0  # reliability A15
END_SECONDS = 10.0
SPARE_LANE = 10  # a busy machine may make a second lane for the graph meanwhile: its loop, its connection
MEMORY_BYTES_MAX = 4 * 1024 * 1024  # for 800 clients: 5 kB each
FORGETFUL = {"RESUMABLE_STREAM_TTL_SECONDS": "0"}  # the logs of ended runs would be memory that is in use
KINDS = [(kind, on_disconnect) for kind in ("stream", "wait") for on_disconnect in ("cancel", "continue")]

pytestmark = pytest.mark.alone


@dataclass
class Client:
    response: wire.Response
    node: Node
    left_at: float = 0.0  # seconds since 1970: rows tell their time so

    def leave(self, how: str) -> None:
        self.left_at = time.time()
        self.response.reset() if how == "reset" else self.response.close()


@pytest.fixture(scope="module")
def server(start_server: RunningServer) -> Server:
    return start_server(CONFIG.with_name("faults.json"), **FORGETFUL)


def connect(server: Server, gate: Gate, kind: str, on_disconnect: str) -> Client:
    """A client in the middle of its run."""
    graph_input = gate.input()
    body = {"assistant_id": "gate_alone", "input": graph_input, "on_disconnect": on_disconnect}
    path = f"/threads/{server.new_thread()}/runs/{kind}"
    response = server.request("POST", path, {**body, "stream_mode": "messages-tuple"})
    node = gate.node(graph_input)
    node.say("half")
    if kind == "stream":
        assert response.next("messages").data[0]["content"] == "half"
    return Client(response, node)


def vanish(server: Server, gate: Gate, kind: str, on_disconnect: str) -> list[Client]:
    """All clients connected, then all gone: every other in good order, every other by a reset."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        clients = list(pool.map(lambda _: connect(server, gate, kind, on_disconnect), range(CLIENTS)))
    for number, client in enumerate(clients):
        client.leave("reset" if number % 2 else "close")
    return clients


def ended(server: Server, client: Client) -> dict[str, Any]:
    """The run when it is over."""
    run = run_of(client.response)
    server.get(f"{run}/join")
    return dict(server.get(run))


def see_off(server: Server, clients: list[Client]) -> list[dict[str, Any]]:
    """Let every node that may still speak come to its end; the runs when they are over."""
    for client in clients:
        with contextlib.suppress(ConnectionError):
            client.node.finish()
    runs = [ended(server, client) for client in clients]
    for client in clients:
        client.node.close()
    return runs


@pytest.mark.parametrize("kind", ["stream", "wait"])
def test_with_continue_every_run_is_completed(server: Server, gate: Gate, kind: str) -> None:
    clients = vanish(server, gate, kind, "continue")
    for client in clients:
        client.node.say(" and half")
    assert [run["status"] for run in see_off(server, clients)] == ["success"] * CLIENTS
    for client in clients:
        thread = run_of(client.response).split("/")[2]
        assert server.get(f"/threads/{thread}")["values"]["out"] == "half and half"


@pytest.mark.parametrize("kind", ["stream", "wait"])
def test_with_cancel_every_run_is_stopped_in_time(server: Server, gate: Gate, kind: str) -> None:
    clients = vanish(server, gate, kind, "cancel")
    assert [client.node.hear() for client in clients] == ["cancelled"] * CLIENTS
    for client in clients:
        run = ended(server, client)
        assert run["status"] == "interrupted"
        assert datetime.fromisoformat(run["updated_at"]).timestamp() - client.left_at < STOP_SECONDS


def test_nothing_of_them_is_left(start_server: RunningServer, gate: Gate) -> None:
    """Tasks cannot be seen from outside; but they take memory, and the end of the server waits for them."""
    server = start_server(CONFIG.with_name("faults.json"), **FORGETFUL)
    for kind in KINDS:
        see_off(server, vanish(server, gate, *kind))  # what is made once is made
    descriptors, threads, memory = server.descriptors(), server.threads(), server.resident_bytes()
    for kind in KINDS:
        see_off(server, vanish(server, gate, *kind))
    assert eventually(lambda: server.descriptors() <= descriptors + SPARE_LANE)
    assert eventually(lambda: server.resident_bytes() <= memory + MEMORY_BYTES_MAX)
    assert server.threads() <= threads + SPARE_LANE
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=END_SECONDS) == 0
