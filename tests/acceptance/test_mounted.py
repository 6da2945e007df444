"""The server mounted into a FastAPI of somebody else's, under his uvicorn."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import wire
from fix_cutter import Cut, Cutter
from fix_fork import REPO
from fix_gate import Gate
from fix_server import eventually
from fix_web import project
from langgraph_sdk import get_client, get_sync_client

HOST = """
from contextlib import asynccontextmanager

from fastapi import FastAPI
from langgraph_sdk import get_client

from server.app import create_app

graphwire = create_app({config})


@asynccontextmanager
async def lifespan(app):
    async with graphwire.lifespan():
        app.state.graphs = await get_client().assistants.count()
        yield
    print("stopped in order", flush=True)


app = FastAPI({lifespan})


@app.get("/own")
async def own():
    return {{"graphs": await get_client().assistants.count()}}


app.mount("/agents", graphwire)
"""
WITH, WITHOUT = "lifespan=lifespan", ""


class Host:
    """The process of the other application."""

    def __init__(self, folder: Path, source: str, target: str = "host:app", **env: str) -> None:
        (folder / "host.py").write_text(source)
        self._log = folder / "log"
        command = [sys.executable, "-m", "uvicorn", target, "--port", "0", "--log-level", "info"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1", **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def port(self) -> int:
        """Once it listens."""
        running = "Uvicorn running on http://127.0.0.1:"
        assert eventually(lambda: running in self.log or self.process.poll() is not None, 60)
        assert running in self.log, self.log
        return int(self.log.split(running)[1].split()[0])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Start = Callable[..., Host]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Host] = []

    def start_one(lifespan: str = WITH, config: str = '"langgraph.json"', **more: Any) -> Host:
        project(tmp_path, more.pop("http", {}))
        source = more.pop("source", None) or HOST.format(lifespan=lifespan, config=config)
        started.append(Host(tmp_path, source, **more))
        return started[-1]

    yield start_one
    for host in started:
        host.process.kill()
        host.process.wait()


@pytest.mark.parametrize("lifespan", [WITH, WITHOUT], ids=["with its lifespan", "with the first request"])
async def test_the_sdk_streams_through_it_while_the_model_is_still_speaking(
    start: Start, gate: Gate, lifespan: str
) -> None:
    client = get_client(url=f"{start(lifespan).url}/agents")
    thread = await client.threads.create()
    asked, heard = gate.input(), []
    async for part in client.runs.stream(
        thread["thread_id"], "gate", input=asked, stream_mode="messages-tuple"
    ):
        if part.event == "metadata":
            node = gate.node(asked)
            node.say("one")
        elif part.event == "messages":
            heard.append(part.data[0]["content"])
            node.say("two") if heard == ["one"] else node.finish()
    assert "".join(heard) == "onetwo"


async def test_a_stream_that_is_cut_is_resumed_under_its_path(start: Start, gate: Gate) -> None:
    cutter = Cutter(start().port)
    try:
        cutter.plan(Cut(700, "reset"))
        client = get_client(url=f"{cutter.url}/agents")
        asked, heard = gate.input(), []
        words = [f"word{number} " for number in range(20)]
        async for part in client.runs.stream(None, "gate", input=asked, stream_mode="messages-tuple"):
            if part.event == "metadata" and not heard:
                node = gate.node(asked)
                for word in words:
                    node.say(word)
                node.finish()
            if part.event == "messages":
                heard.append(part.data[0]["content"])
        assert "".join(heard) == "".join(words)
    finally:
        cutter.close()


def test_the_application_around_it_is_as_it_was_and_may_call_it_from_within(start: Start) -> None:
    host = start()
    assert httpx.get(f"{host.url}/own").json() == {"graphs": 4}
    assert httpx.get(f"{host.url}/openapi.json").json()["paths"].keys() == {"/own"}
    assert httpx.get(f"{host.url}/threads").status_code == 404
    assert httpx.get(f"{host.url}/agents/openapi.json").json()["servers"] == [{"url": "/agents"}]
    answer = httpx.post(f"{host.url}/agents/runs/wait", json={"assistant_id": "echo", "input": {"x": 1}})
    assert answer.json()["x"] == 1
    assert answer.headers["location"].startswith("/agents/threads/")


def test_a_prefix_of_its_own_comes_behind_that_of_the_mount(start: Start) -> None:
    host = start(http={"mount_prefix": "/v1"})
    client = get_sync_client(url=f"{host.url}/agents/v1")
    assert client.runs.wait(None, "echo", input={"x": 1})["x"] == 1
    assert httpx.get(f"{host.url}/agents/ok").status_code == 200
    assert httpx.get(f"{host.url}/agents/info").status_code == 404


def test_a_stop_cuts_streams_and_ends_in_order(start: Start, gate: Gate) -> None:
    host = start(BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="0.2")
    asked = gate.input()
    run = {"assistant_id": "gate", "input": asked}
    stream = wire.request(host.port, "POST", "/agents/runs/stream", run)
    gate.node(asked)
    stream.next("metadata")
    host.process.send_signal(signal.SIGTERM)
    stream.rest()
    assert stream.ended_by in ("cut", "reset")  # never a clean end: clients would take it for the whole
    assert host.process.wait(timeout=20) in (0, -signal.SIGTERM)
    assert "stopped in order" in host.log


def test_what_was_under_way_goes_on_in_the_next_process(start: Start, gate: Gate) -> None:
    host = start(BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS="0.2")
    client = get_sync_client(url=f"{host.url}/agents")
    thread, asked = client.threads.create()["thread_id"], gate.input()
    client.runs.create(thread, "gate", input=asked)
    gate.node(asked)
    host.process.send_signal(signal.SIGTERM)
    host.process.wait(timeout=20)
    again = get_sync_client(url=f"{start().url}/agents")
    node = gate.node(asked)
    node.say("done")
    node.finish()
    assert eventually(lambda: again.threads.get(thread)["status"] == "idle")
    assert again.threads.get(thread)["values"]["out"] == "done"


def test_it_also_runs_alone(start: Start) -> None:
    source = "from server.app import create_app\napp = create_app()\n"
    assert get_sync_client(url=start(source=source).url).runs.wait(None, "echo", input={"x": 1})["x"] == 1


def test_what_a_file_would_say_can_be_said_in_the_program(start: Start) -> None:
    host = start(config='{"graphs": {"only": "./echo.py:graph"}}')
    assert httpx.get(f"{host.url}/own").json() == {"graphs": 1}


@pytest.mark.parametrize("lifespan", [WITH, WITHOUT])
def test_a_graph_that_cannot_be_loaded_stops_the_start_or_fails_the_requests(
    start: Start, lifespan: str
) -> None:
    host = start(lifespan, config='{"graphs": {"broken": "./missing.py:graph"}}')
    if lifespan:
        assert host.process.wait(timeout=60) == 3
    else:
        for _ in range(2):
            assert httpx.get(f"{host.url}/agents/ok").status_code == 500
    assert "missing.py" in host.log


def test_a_wrong_configuration_is_told_where_it_is_made(start: Start) -> None:
    host = start(config='{"graphs": {}, "http": {"mount_prefix": "x"}}')
    assert host.process.wait(timeout=60) == 1
    assert "ConfigError" in host.log


def test_types_of_a_state_come_back_although_langgraph_was_imported_first(start: Start) -> None:
    """What LANGGRAPH_STRICT_MSGPACK decides when it is imported: too early here."""
    typed = (
        "import dataclasses\n"
        "from typing import TypedDict\n"
        "from langgraph.graph import START, StateGraph\n"
        "@dataclasses.dataclass\n"
        "class Point:\n    x: int\n"
        "class State(TypedDict, total=False):\n    point: Point\n    kind: str\n"
        "def make(state):\n    return {'point': Point(1)}\n"
        "def look(state):\n    return {'kind': type(state['point']).__name__}\n"
        "graph = StateGraph(State).add_node(make).add_node(look)"
        ".add_conditional_edges(START, lambda s: 'look' if s.get('point') else 'make').compile()\n"
    )
    source = "import langgraph.pregel\n" + HOST.format(
        lifespan=WITH, config='{"graphs": {"typed": "./typed.py:graph"}}'
    )
    source = f"from pathlib import Path\nPath('typed.py').write_text({typed!r})\n{source}"
    client = get_sync_client(url=f"{start(source=source).url}/agents")
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "typed", input={})
    assert client.runs.wait(thread, "typed", input={})["kind"] == "Point"
