"""One graph's bad manners are its own affair: blocking calls, exits and interrupts of the process.

What holds a loop holds it until the test lets go: what is answered at all is answered meanwhile. How fast,
`make bench` measures.
"""

from collections.abc import Callable

import pytest
import wire
from fix_gate import Gate, Node
from fix_server import CONFIG, Server, eventually, run_of


@pytest.fixture(scope="module")
def lonely(start_server: Callable[..., Server]) -> Server:
    """A server of its own: what happens here may end it."""
    return start_server()


class Blocked:
    """A run whose async node holds its event loop from now on."""

    def __init__(self, server: Server, gate: Gate) -> None:
        graph_input = gate.input()
        self.stream = server.stream("blocking", graph_input, stream_mode="updates")
        self.node: Node = gate.node(graph_input)

    def still(self) -> bool:
        return self.node.is_silent()

    def let_go(self) -> None:
        self.node.finish()


@pytest.fixture
def blocked(lonely: Server, gate: Gate) -> Blocked:
    return Blocked(lonely, gate)


# ---------------------------------------------------------------- a blocking call in an async node
def test_health_answers_while_a_node_blocks_its_loop(lonely: Server, blocked: Blocked) -> None:
    for _ in range(20):
        lonely.get("/ok")
    assert blocked.still()


def test_threads_and_states_are_answered_meanwhile(lonely: Server, blocked: Blocked) -> None:
    thread = run_of(blocked.stream).rsplit("/runs/", 1)[0]
    for path in (thread, f"{thread}/state", run_of(blocked.stream)):
        lonely.get(path)
    assert blocked.still()


def test_frames_of_another_graph_arrive_meanwhile(lonely: Server, gate: Gate, blocked: Blocked) -> None:
    graph_input = gate.input()
    stream = lonely.stream("gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    for number in range(20):
        node.say(f"word {number}")
        stream.next("messages")
    assert blocked.still()
    node.finish()
    stream.rest()


def test_a_new_run_of_another_graph_starts_and_ends_meanwhile(lonely: Server, blocked: Blocked) -> None:
    lonely.wait("joke", {"topic": "ice"})
    assert blocked.still()


def test_a_run_of_another_graph_is_cancelled_meanwhile(lonely: Server, gate: Gate, blocked: Blocked) -> None:
    graph_input = gate.input()
    stream = lonely.stream("gate", graph_input)
    node = gate.node(graph_input)
    lonely.post(f"{run_of(stream)}/cancel?wait=1")
    stream.rest()
    assert node.hear() == "cancelled"
    assert blocked.still()


def test_the_blocked_run_itself_is_cancelled_soon(lonely: Server, blocked: Blocked) -> None:
    lonely.post(f"{run_of(blocked.stream)}/cancel")
    blocked.stream.rest()
    assert lonely.get(run_of(blocked.stream))["status"] == "interrupted"
    assert blocked.still()


def test_the_blocked_run_ends_well_when_it_is_left_alone(lonely: Server, blocked: Blocked) -> None:
    blocked.let_go()
    assert blocked.node.hear() == "woke"
    assert blocked.stream.rest()[-1].data == {"block": {"done": True}}
    assert lonely.get(run_of(blocked.stream))["status"] == "success"


def test_a_thread_whose_run_was_cancelled_while_it_blocked_takes_the_next_run(
    lonely: Server, gate: Gate
) -> None:
    blocked = Blocked(lonely, gate)
    lonely.post(f"{run_of(blocked.stream)}/cancel?wait=1")
    thread = run_of(blocked.stream).split("/")[2]
    lonely.wait("joke", {"topic": "ice"}, thread)


def test_the_log_names_graph_node_and_line_of_the_blocking_call_once(
    start_server: Callable[..., Server], gate: Gate
) -> None:
    server = start_server()

    def found() -> list[str]:
        return [line for line in server.log.splitlines() if "gate.py" in line and "block" in line.lower()]

    first = Blocked(server, gate)
    assert eventually(lambda: found() != [])
    first.let_go()
    first.stream.rest()
    Blocked(server, gate)
    assert not eventually(lambda: len(found()) > 1, seconds=1.5)
    lines = found()
    assert len(lines) == 1, server.log[-4000:]
    assert "blocking" in lines[0]  # the graph
    source = (CONFIG.parent / "gate.py").read_text().splitlines()
    number = next(number for number, text in enumerate(source, 1) if "that is the mistake" in text)
    assert f"gate.py:{number}" in lines[0] or f"line {number}" in lines[0] or f"={number}" in lines[0]


def test_a_blocking_sync_node_delays_nobody(lonely: Server, gate: Gate) -> None:
    inputs = [gate.input() for _ in range(8)]
    streams = [lonely.stream("gate_sync", one) for one in inputs]
    nodes = [gate.node(one) for one in inputs]
    lonely.get("/ok")
    lonely.wait("joke", {"topic": "ice"})
    for node in nodes:
        node.finish()
    assert all(stream.rest()[-1].data["done"] for stream in streams)


# ---------------------------------------------------------------- what should end a process
deadly = pytest.mark.parametrize(
    "what", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "Odd"]
)
everywhere = pytest.mark.parametrize("where", ["in_sync", "in_async"])


def run_deadly(server: Server, what: str, where: str) -> wire.Response:
    return server.stream("exits", {"what": what, "where": where})


@everywhere
@deadly
def test_it_ends_its_run_with_an_error_that_names_it(lonely: Server, what: str, where: str) -> None:
    stream = run_deadly(lonely, what, where)
    last = stream.rest()[-1]
    assert last.event == "error"
    # While a GeneratorExit passes LangGraph awaits its callbacks, which Python turns into a RuntimeError.
    assert last.data["error"] in (what, *(["RuntimeError"] if what == "GeneratorExit" else []))
    assert stream.ended_by == "last chunk"
    assert lonely.get(run_of(stream))["status"] == "error"


@everywhere
@deadly
def test_it_leaves_the_thread_in_error_and_ready_for_the_next_run(
    lonely: Server, what: str, where: str
) -> None:
    stream = run_deadly(lonely, what, where)
    stream.rest()
    thread = run_of(stream).split("/")[2]
    assert lonely.get(f"/threads/{thread}")["status"] == "error"
    assert lonely.wait("joke", {"topic": "ice"}, thread)["joke"] == "Why ice? Ha!"


@everywhere
@deadly
def test_it_does_not_touch_another_run(lonely: Server, gate: Gate, what: str, where: str) -> None:
    graph_input = gate.input()
    stream = lonely.stream("gate", graph_input, stream_mode="messages-tuple")
    node = gate.node(graph_input)
    run_deadly(lonely, what, where).rest()
    node.say("alive")
    assert stream.next("messages").data[0]["content"] == "alive"
    node.finish()
    stream.rest()
    assert lonely.alive()


@everywhere
@deadly
def test_a_wait_tells_it_too_and_the_server_lives_on(lonely: Server, what: str, where: str) -> None:
    result = lonely.wait("exits", {"what": what, "where": where}, thread=None)
    assert result["__error__"]["error"] == what
    assert lonely.get("/ok")["ok"] is True
