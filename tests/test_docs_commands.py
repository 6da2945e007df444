"""What the guides tell a reader to type, typed: in a folder of his own, one block after the other."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import yaml
from fix_cli import GRAPH, REPO, SECONDS_MAX
from fix_gate import Gate
from fix_server import Server, eventually
from langgraph.checkpoint.sqlite import SqliteSaver

from server.cli import main

DOCS = REPO / "docs"
BIN = Path(sys.executable).parent
SERVES = re.compile(r"^graphwire (dev|serve)\b.*$", re.MULTILINE)


def blocks(name: str, *languages: str) -> list[tuple[str, str]]:
    """The blocks of a guide in these languages: (language, code)."""
    text = (DOCS / name).read_text()
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(language, code) for language, code in found if language in languages]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Reader:
    """Somebody at a terminal. A server that he starts goes on while he types elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
        self._servers: list[subprocess.Popen[bytes]] = []

    def type_in(self, code: str) -> str:
        """What it prints; of a block that starts a server nothing, once it answers."""
        code = code.replace("8123", str(self.port))
        served = SERVES.search(code)
        if "graphwire import" in code:
            self.end()  # as the guides say: one process has the database
        if served is None:
            return self._run(["bash", "-euc", code])
        self._run(["bash", "-euc", code[: served.start()] + "\npwd > .where"])
        moved = sorted(self.folder.rglob(".where"), key=lambda path: len(path.parts))
        self.folder = Path(moved[-1].read_text().strip())
        self.end()
        command = re.sub(r" --port \d+", "", served[0]) + f" --port {self.port}"
        with (self.folder / "server.log").open("wb") as log:
            self._servers.append(
                subprocess.Popen(
                    ["bash", "-euc", f"exec {command}"],
                    cwd=self.folder,
                    env=self.env,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        assert eventually(self._answers), (self.folder / "server.log").read_text()
        return ""

    def python(self, code: str) -> str:
        return self._run([sys.executable, "-c", code.replace("8123", str(self.port))])

    def end(self) -> None:
        for server in self._servers:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        self._servers.clear()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/ok").status_code == 200
        except httpx.TransportError:
            return False

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.end()


def project(folder: Path, name: str = "langgraph.json") -> None:
    (folder / "agent.py").write_text(GRAPH)
    (folder / name).write_text('{"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}}')
    with SqliteSaver.from_conn_string(str(folder / "checkpoints.sqlite")) as saver:
        saver.setup()


def test_the_quick_start(reader: Reader) -> None:
    printed = [
        reader.python(code) if language == "python" else reader.type_in(code)
        for language, code in blocks("quick-start.md", "bash", "python")
    ]
    served, streamed, talked, checked = printed
    assert served == ""
    assert streamed.count("event: messages") > 5
    assert talked.splitlines()[-1] == "4 messages"
    assert checked == "langgraph.json: nothing is wrong.\n"


def test_coming_from_langgraph_dev(reader: Reader) -> None:
    project(reader.folder)
    printed = [reader.type_in(code) for _, code in blocks("coming-from-langgraph-dev.md", "bash")]
    assert len(printed) == 5
    assert "0 threads" in printed[3]
    assert printed[4].startswith("# syntax=docker/dockerfile:1")


def test_coming_from_aegra(reader: Reader) -> None:
    project(reader.folder, "aegra.json")
    reader.env["AEGRA_DATABASE"] = str(reader.folder / "checkpoints.sqlite")
    printed = [reader.type_in(code) for _, code in blocks("coming-from-aegra.md", "bash")]
    assert printed[0] == "aegra.json: nothing is wrong.\n"
    assert "would be taken over" in printed[2]


def test_one_process_and_its_backup(reader: Reader) -> None:
    project(reader.folder)
    serve, backup = (code for _, code in blocks("deploying.md", "bash"))
    reader.type_in(serve)
    httpx.post(f"http://127.0.0.1:{reader.port}/threads", json={})
    if shutil.which("sqlite3"):
        reader.type_in(backup)
    else:  # the same by Python
        source, copy = (
            sqlite3.connect(reader.folder / ".graphwire" / "graphwire.db"),
            reader.folder / "copy.db",
        )
        source.backup(sqlite3.connect(copy))
    with sqlite3.connect(reader.folder / "copy.db") as copied:
        assert copied.execute("SELECT count(*) FROM threads").fetchone() == (1,)


# ------------------------------------------------------------------ what needs an engine or a cluster


def parsed(words: list[str]) -> Any:
    """A command of ours, taken apart as it would be at a start. Raises for what it does not know."""
    assert words[0] == "graphwire"
    command: Any = main.get_command(click.Context(main), words[1])
    return command.make_context(words[1], words[2:])


def test_compose_runs_our_commands_without_privileges() -> None:
    services = yaml.safe_load((REPO / "compose.yaml").read_text())["services"]
    for name in ("api", "worker"):
        assert parsed(services[name]["command"]).params["port"] == 8123
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["stop_grace_period"] == "30s"


def test_kubernetes_runs_our_commands_asks_what_is_there_and_waits_for_runs() -> None:
    items = yaml.safe_load((REPO / "deploy" / "kubernetes.yaml").read_text())["items"]
    deployments = [item["spec"]["template"]["spec"] for item in items if item["kind"] == "Deployment"]
    assert len(deployments) == 2
    for pod in deployments:
        (container,) = pod["containers"]
        assert parsed(container["args"]).params["port"] == container["ports"][0]["containerPort"] == 8123
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["terminationGracePeriodSeconds"] > 30
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/data"]
        paths = [
            container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("readiness", "liveness", "startup")
        ]
        assert paths == ["/ok?check_db=1", "/ok", "/ok"]


def test_commands_of_engines_are_given_to_what_they_say() -> None:
    """`graphwire build` in the guides is a command of ours; what is left is Docker's and kubectl's."""
    code = "\n".join(code for _, code in blocks("deploying.md", "sh"))
    ours = re.findall(r"^graphwire .*$", code, re.MULTILINE)
    assert [parsed(line.split()).params["tag"] for line in ours] == ["my-agent"]
    named = set(re.findall(r"[\w./-]+\.(?:yaml|lock)", code))
    assert all((REPO / name).is_file() for name in named)


# ------------------------------------------------------------------ a proxy in between

NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  gzip on; gzip_types *; gzip_proxied any;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {ours}
}}
"""


@pytest.fixture
def through_nginx(server: Server) -> Iterator[Callable[[], Server]]:
    """The server behind the lines of docs/proxies.md."""
    folder = Path(tempfile.mkdtemp(prefix="graphwire-nginx-"))
    folder.chmod(0o777)
    port = free_port()
    ((_, lines),) = blocks("proxies.md", "nginx")
    lines = lines.replace("8123", str(server.port)).replace("listen 80;", f"listen 127.0.0.1:{port};")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, ours=lines))
    path = f"{os.environ['PATH']}:/usr/sbin"
    program = shutil.which("nginx", path=path)
    assert program, "nginx is not installed: `make test` installs it"
    process = subprocess.Popen(
        [program, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    )
    proxied = Server(port, process, folder / "error.log", server.data_dir)

    def answers() -> bool:
        try:
            return proxied.request("GET", "/ok").status == 200
        except OSError:
            return False

    assert eventually(answers), proxied.log
    yield lambda: proxied
    process.terminate()
    process.wait()
    shutil.rmtree(folder)


def test_behind_nginx_tokens_arrive_while_the_model_speaks(
    through_nginx: Callable[[], Server], gate: Gate
) -> None:
    question = gate.input()
    stream = through_nginx().stream("gate", question, stream_mode=["messages-tuple"])
    node = gate.node(question)
    for token in ("one", "two"):
        node.say(token)
        assert stream.next("messages").data[0]["content"] == token
    node.finish()
    stream.body()
    assert stream.header("content-encoding") is None
