"""Reloading as a person meets it: edit a file and the server starts again; end it and nothing is left."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from fix_cli import SECONDS_MAX, Start, project, start, until, url_of
from fix_server import eventually

from server.serving.reload import Reloader

__all__ = ["project", "start"]


def refuses(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def serving(start: Start, project: Path) -> "tuple[subprocess.Popen[str], str]":
    process = start("dev", "--config", project, "--port", 0)
    return process, url_of(process)


def test_a_changed_file_starts_the_server_again(start: Start, project: Path) -> None:
    process, _ = serving(start, project)
    project.write_text('{"graphs": {"renamed": "./small.py:graph"}}')
    assert "langgraph.json" in until(process, "stderr", "starting again")
    assert until(process, "stdout", "serves").split()[-1] == "renamed"


def test_a_mistake_while_editing_waits_for_its_repair(start: Start, project: Path) -> None:
    process, _ = serving(start, project)
    graph = project.parent / "small.py"
    good = graph.read_text()
    graph.write_text("def broken(:")
    until(process, "stderr", "stopped with status 3; waiting for a change")
    graph.write_text(good)
    url_of(process)


def children(process: "subprocess.Popen[str]") -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_a_change_of_code_is_served_by_a_process_that_had_imported_the_rest(
    start: Start, project: Path
) -> None:
    process, url = serving(start, project)
    first = min(children(process))
    assert eventually(lambda: len(children(process)) == 2)
    (spare,) = set(children(process)) - {first}
    graph = project.parent / "small.py"
    graph.write_text(re.sub(r"(?<!_)node", "other", graph.read_text()))
    url = url_of(process)
    assert refuses(url) is False
    assert spare in children(process)
    assert first not in children(process)
    nodes = httpx.get(f"{url}/assistants/small/graph").json()["nodes"]
    assert "other" in [node["id"] for node in nodes]


def test_a_change_of_the_environment_is_seen(start: Start, project: Path) -> None:
    """A process that waited for its turn had read it as it was."""
    (project.parent / ".env").write_text("WHO=first")
    project.write_text('{"graphs": {"small": "./small.py:graph"}, "env": ".env"}')
    graph = project.parent / "small.py"
    graph.write_text("import os\n" + graph.read_text().replace("True", "os.environ['WHO']"))
    process, _ = serving(start, project)
    assert eventually(lambda: len(children(process)) == 2)
    (project.parent / ".env").write_text("WHO=second")
    until(process, "stderr", "starting again")
    body = {"assistant_id": "small", "input": {}}
    assert httpx.post(f"{url_of(process)}/runs/wait", json=body).json() == {"seen": "second"}


@pytest.mark.alone
def test_a_change_of_code_is_served_within_a_second(start: Start, project: Path) -> None:
    process, _ = serving(start, project)
    graph, took = project.parent / "small.py", []
    for _ in range(3):
        assert eventually(lambda: len(children(process)) == 2)
        spare = max(children(process))
        assert eventually(lambda spare=spare: waits(spare))  # type: ignore[misc]
        began = time.monotonic()
        graph.write_text(graph.read_text() + "\n")
        url_of(process)
        took.append(time.monotonic() - began)
    assert min(took) < 1.0, took


def waits(pid: int) -> bool:
    """Whether a process has done what there is to do, and reads from a pipe."""
    return "pipe" in Path(f"/proc/{pid}/wchan").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_with_the_parent_however_that_ends(
    start: Start, project: Path, number: signal.Signals
) -> None:
    process, url = serving(start, project)
    process.send_signal(number)
    process.communicate(timeout=SECONDS_MAX)  # both hold these pipes: they close when both are gone
    assert refuses(url)


def test_ctrl_c_in_a_terminal_reaches_both_and_ends_them_quietly(start: Start, project: Path) -> None:
    process, url = serving(start, project)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0
    assert errors == ""
    assert refuses(url)


@pytest.mark.parametrize(
    ("path", "matters"),
    [
        ("graphs/agent.py", True),
        ("langgraph.json", True),
        (".env", True),
        (".env.local", True),
        ("notes.md", False),
        (".graphwire/state.py", False),
        (".venv/lib/site.py", False),
        ("web/node_modules/tool.py", False),
        ("graphs/__pycache__/agent.py", False),
    ],
)
def test_only_what_a_start_reads_matters(tmp_path: Path, path: str, matters: bool) -> None:
    # Below a directory whose name would be ignored inside the project.
    root = tmp_path / "node_modules" / "project"
    assert Reloader(root / "langgraph.json", [], 0).matters(root / path) is matters
