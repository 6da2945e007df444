"""The real server in a process of its own, on a free port and an empty data directory."""

import functools
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fix_api
import pytest
import wire
from fix_engine import EMBEDDED, Engine
from fix_fork import REPO, Forked, fork

CONFIG = REPO / "tests" / "graphs" / "langgraph.json"
START_SECONDS = 60.0
RunningServer = Callable[..., "Server"]
Launch = Callable[[list[str], dict[str, str], Path], Any]  # arguments, environment, log -> a process


def spawn(arguments: list[str], env: dict[str, str], log_path: Path) -> subprocess.Popen[bytes]:
    """The command line in a new process, with all that Python does at a start; as `fork` does otherwise."""
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "server", *arguments],
            cwd=REPO,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


@dataclass(frozen=True)
class Server:
    port: int
    process: subprocess.Popen[bytes] | Forked
    log_path: Path
    data_dir: Path
    engine: Engine = EMBEDDED

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def alive(self) -> bool:
        return self.process.poll() is None

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def connections(self) -> int:
        """Sockets of its own that it still has with clients; one that it has closed belongs to nobody."""
        own, listening, nobody = f":{self.port:04X}", "0A", "0"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[1].endswith(own) and row[3] != listening and row[9] != nobody for row in rows)

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    # ---------------------------------------------------------------- requests
    def request(self, method: str, path: str, body: Any = None, **kwargs: Any) -> wire.Response:
        """Ask. Whatever is answered must be in the OpenAPI document: its status, its type, its fields."""
        response = wire.request(self.port, method, path, body, **kwargs)
        response.judge = fix_api.judge(method, path, response.status, response.header("content-type"))
        return response

    def get(self, path: str) -> Any:
        """What a GET answers, which must be a success."""
        return self._success(self.request("GET", path))

    def post(self, path: str, body: Any = None) -> Any:
        return self._success(self.request("POST", path, body))

    def _success(self, response: wire.Response) -> Any:
        body = response.body()
        assert 200 <= response.status < 300, f"{response.status} {body[:500]!r}"
        return wire.json.loads(body) if body else None

    def new_thread(self) -> str:
        return str(self.post("/threads", {})["thread_id"])

    def stream(
        self, graph: str, graph_input: Any, thread: str | None = "new", **fields: Any
    ) -> wire.Response:
        """Start a run and stream it: on a new thread, on `thread`, or on none."""
        thread = self.new_thread() if thread == "new" else thread
        path = f"/threads/{thread}/runs/stream" if thread else "/runs/stream"
        response = self.request("POST", path, {"assistant_id": graph, "input": graph_input, **fields})
        assert response.status == 200, f"{response.status} {response.body()[:500]!r}"
        return response

    def wait(self, graph: str, graph_input: Any, thread: str | None = "new", **fields: Any) -> Any:
        thread = self.new_thread() if thread == "new" else thread
        path = f"/threads/{thread}/runs/wait" if thread else "/runs/wait"
        return self.post(path, {"assistant_id": graph, "input": graph_input, **fields})

    def join(self, location: str, last_event_id: str | None = None, **kwargs: Any) -> wire.Response:
        """Read a run's stream; after an event if its id is given."""
        headers = {"Last-Event-ID": last_event_id} if last_event_id is not None else {}
        return self.request("GET", location, headers=headers, **kwargs)


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether something that nobody tells us of comes to hold in that time: it is asked again and again."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def run_of(response: wire.Response) -> str:
    """The path of the run that a stream or wait response belongs to."""
    location = response.header("content-location")
    assert location, "content-location is missing"
    return location


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def start(
    folder: Path,
    config: Path = CONFIG,
    *flags: str,
    launch: Launch = fork,
    port: int | None = None,
    engine: Engine = EMBEDDED,
    **env: str,
) -> Server:
    """Start a server and wait until it answers. In the same folder it finds the data of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log_path, data_dir = port or free_port(), folder / "server.log", folder / "data"
    arguments = ["serve", "--no-reload", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--allow-outside"]  # projects in folders of their own share the graphs of the tests
    arguments += flags
    own = {**engine.environment(folder), "PYTHONUNBUFFERED": "1"}
    server = Server(port, launch(arguments, own | env, log_path), log_path, data_dir, engine)
    _until_ready(server)
    return server


def _until_ready(server: Server) -> None:
    for _ in range(int(START_SECONDS / 0.02)):
        try:
            if server.request("GET", "/ok").status == 200:
                return
        except (ConnectionRefusedError, ConnectionResetError, wire.Closed):
            pass
        try:
            server.process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        break
    stop(server)
    pytest.fail(f"the server did not start:\n{server.log[-6000:]}", pytrace=False)


def stop(server: Server) -> None:
    if server.alive():
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def _starting(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, end: Callable[[Server], None] = stop
) -> Iterator[RunningServer]:
    started: list[Server] = []

    def start_one(config: Path = CONFIG, **options: Any) -> Server:
        started.append(start(tmp_path_factory.mktemp("server"), config, **{"engine": engine, **options}))
        return started[-1]

    yield start_one
    for server in started:
        end(server)


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[RunningServer]:
    """A server with an environment or a configuration of its own, until the end of the file."""
    yield from _starting(tmp_path_factory, engine)


@pytest.fixture(scope="session")
def start_shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that tests of many files share. It is killed: its database may be gone before it."""
    yield from _starting(tmp_path_factory, EMBEDDED, end=lambda server: server.process.kill())


@pytest.fixture(scope="session")
def shared_server(
    start_shared_server: RunningServer, openai_environment: dict[str, str]
) -> Callable[[Engine], Server]:
    """One server of each engine, kept while tests of the other run."""
    return functools.cache(lambda engine: start_shared_server(engine=engine, **openai_environment))


@pytest.fixture(scope="session")
def server(engine: Engine, shared_server: Callable[[Engine], Server]) -> Server:
    """The server that most tests share."""
    return shared_server(engine)


@pytest.fixture(autouse=True)
def _server_log_on_failure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Beside every failure, what the servers wrote during the test."""
    logs = tmp_path_factory.getbasetemp()
    sizes = {path: path.stat().st_size for path in logs.glob("server*/**/server.log")}
    yield
    report = getattr(request.node, "call_report", None)
    if report is not None and report.failed:
        written = [_after(path, sizes.get(path, 0)) for path in sorted(logs.glob("server*/**/server.log"))]
        report.sections.append(("what the servers wrote meanwhile", "\n".join(written)))


def _after(path: Path, size: int) -> str:
    with path.open("rb") as log:
        log.seek(size)
        return log.read().decode(errors="replace")[-8000:]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.call_report = report
    return report
