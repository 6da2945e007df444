"""The command line as a process: a small project, a running `python -m server`, and what it prints."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
SECONDS_MAX = 60
GRAPH = """
from langgraph.graph import START, StateGraph

def node(state):
    return {"seen": True}

graph = StateGraph(dict).add_node(node).add_edge(START, "node").compile()
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with one small graph; returns its langgraph.json."""
    (tmp_path / "small.py").write_text(GRAPH)
    config = tmp_path / "langgraph.json"
    config.write_text('{"graphs": {"small": "./small.py:graph"}}')
    return config


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python -m server …`; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_one(*arguments: object, **env: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "server", *map(str, arguments)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command,
            cwd=REPO,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,  # so that a test can send a signal to all of it, as a terminal does
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def graphwire(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "server", *map(str, arguments)]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)


def until(process: "subprocess.Popen[str]", stream: str, text: str) -> str:
    """Reads the process's output up to the line that contains a text, and returns that line."""
    seen = []
    for line in getattr(process, stream):
        if text in line:
            return str(line)
        seen.append(line)
    pytest.fail(f"{text!r} was never printed; exit status {process.wait()}; printed instead: {''.join(seen)}")


def url_of(process: "subprocess.Popen[str]") -> str:
    return until(process, "stdout", "API").split()[-1]
