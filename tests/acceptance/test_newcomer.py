"""From an empty folder to a graph that streams in two commands, and from `langgraph dev` in one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fix_cli import SECONDS_MAX, Start, graphwire, start, until, url_of
from fix_fork import Forked, fork
from fix_server import eventually
from langgraph_sdk import get_sync_client

__all__ = ["start"]

COMMAND = Path(sys.executable).with_name("graphwire")
NODE = """
from langgraph.graph import START, StateGraph
def node(state):
    return {"seen": WORD}
builder = StateGraph(dict).add_node("node", node).add_edge(START, "node")
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Types commands into a folder, as a user does."""
    started: list[subprocess.Popen[str]] = []

    def type_in(folder: Path, line: str) -> "subprocess.Popen[str]":
        environment = os.environ | {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(
                ["bash", "-euc", line], cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True,
                start_new_session=True,
            )
        )  # fmt: skip
        return started[-1]

    yield type_in
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.embedded
def test_two_commands_lead_from_an_empty_folder_to_a_graph_that_streams(
    shell: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    process = shell(tmp_path, "graphwire new app && cd app && exec graphwire dev --port 0")
    client = get_sync_client(url=url_of(process), api_key=None)
    said = []
    for chunk in client.runs.stream(
        None,
        "agent",
        input={"messages": [{"role": "user", "content": "Hello, world!"}]},
        stream_mode="messages-tuple",
    ):
        if chunk.event == "messages":
            message, metadata = chunk.data
            assert metadata["langgraph_node"] == "chat"
            said.append(message["content"])
    assert "".join(said).startswith("You said: Hello, world!")
    assert len([word for word in said if word]) > 10  # word by word


def test_the_template_has_nothing_to_be_told_of(tmp_path: Path) -> None:
    assert graphwire("new", tmp_path / "app").returncode == 0
    done = graphwire("check", "--config", tmp_path / "app" / "langgraph.json")
    assert done.stdout == f"{tmp_path}/app/langgraph.json: nothing is wrong.\n"
    rules = ["--isolated", "--select", "E,F,I,B,UP", "--line-length", "110"]
    linted = subprocess.run(
        [COMMAND.with_name("ruff"), "check", *rules, "."],
        cwd=tmp_path / "app", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert linted.returncode == 0, linted.stdout


def test_a_folder_that_has_such_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("mine")
    done = graphwire("new", tmp_path)
    assert done.returncode == 2
    assert "agent.py already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["agent.py"]


Files = dict[str, str]

# Folders that run under `langgraph dev`, as templates and users lay them out.
LAYOUTS: dict[str, tuple[Any, Files]] = {
    "one file, and a dotenv file that is there": (
        {"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}, "env": "./.env"},
        {
            ".env": "export WORD='yes'\n",
            "agent.py": f"import os\nWORD = os.environ['WORD']{NODE}graph = builder.compile()",
        },
    ),
    "a package with relative imports, and no dotenv file": (
        {"dependencies": ["."], "graphs": {"agent": "./my_agent/agent.py:graph"}, "env": ".env"},
        {
            "my_agent/__init__.py": "",
            "my_agent/utils/__init__.py": "",
            "my_agent/utils/words.py": "WORD = 'yes'",
            "my_agent/agent.py": "from .utils.words import WORD\nfrom my_agent.utils import words"
            f"{NODE}graph = builder.compile()",
        },
    ),
    "the src layout of LangGraph's own template": (
        {
            "$schema": "https://langgra.ph/schema.json",
            "dependencies": ["."],
            "graphs": {"agent": "./src/agent/graph.py:graph"},
            "env": ".env",
            "image_distro": "wolfi",
        },
        {
            "pyproject.toml": "[project]\nname = 'agent'\nversion = '0'\n"
            "[tool.setuptools]\npackage-dir = {'' = 'src'}\n",
            "src/agent/__init__.py": "from agent.graph import graph\n__all__ = ['graph']",
            "src/agent/words.py": "WORD = 'yes'",
            "src/agent/graph.py": f"from agent.words import WORD{NODE}graph = builder.compile(name='New')",
        },
    ),
    "a module path, and several folders": (
        {"dependencies": ["./libs/one", "./libs/two", "rich>=1"], "graphs": {"agent": "flows.chat:graph"}},
        {
            "libs/one/flows/__init__.py": "",
            "libs/one/flows/chat.py": f"from words import WORD{NODE}graph = builder",
            "libs/two/words.py": "WORD = 'yes'",
            "libs/two/requirements.txt": "",
        },
    ),
    "a factory, and keys for other tools": (
        {
            "dependencies": ["."],
            "graphs": {"agent": {"path": "./graphs/make.py:make", "description": "Made anew."}},
            "env": {"WORD": "yes"},
            "python_version": "3.12",
            "dockerfile_lines": ["RUN apt-get update"],
            "keep_pkg_tools": True,
            "store": {"ttl": {"default_ttl": 60}},
            "checkpointer": {"ttl": {"strategy": "delete", "default_ttl": 100}},
            "http": {"cors": {"allow_origins": ["*"]}},
            "ui": {"agent": "./ui.tsx"},
            "encryption": {"path": "./hooks.py:encryption"},
        },
        {
            "graphs/make.py": "import os\nfrom langchain_core.runnables import RunnableConfig\n"
            f"WORD = os.environ['WORD']{NODE}\n"
            "async def make(config: RunnableConfig):\n    return builder.compile()"
        },
    ),
    "a module that is called as ours": (
        {"dependencies": ["."], "graphs": {"agent": "./server/graph.py:graph"}},
        {
            "server/__init__.py": "WORD = 'yes'",
            "server/graph.py": f"from server import WORD{NODE}graph = builder.compile()",
        },
    ),
}


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """`graphwire dev` for a project; returns its URL."""
    started: list[Forked] = []

    def serve(config: Path) -> str:
        log = tmp_path / "log"
        log.touch()
        started.append(fork(["dev", "--no-reload", "--config", str(config), "--port", "0"], {}, log))
        assert eventually(lambda: "API" in log.read_text() or started[-1].poll() is not None)
        assert "API" in log.read_text(), log.read_text()
        return next(line.split()[-1] for line in log.read_text().splitlines() if "API" in line)

    yield serve
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.embedded
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_that_runs_under_langgraph_dev_runs_with_nothing_changed_in_it(
    dev: Callable[[Path], str], tmp_path: Path, layout: str
) -> None:
    document, files = LAYOUTS[layout]
    folder = tmp_path / "project"
    for name, text in {"langgraph.json": json.dumps(document), **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    url = dev(folder / "langgraph.json")
    body = {"assistant_id": "agent", "input": {}}
    assert httpx.post(f"{url}/runs/wait", json=body, timeout=SECONDS_MAX).json() == {"seen": "yes"}


@pytest.mark.embedded
def test_a_change_of_the_code_is_served_soon_and_threads_are_kept(start: Start, tmp_path: Path) -> None:
    graphwire("new", tmp_path / "app")
    process = start("dev", "--config", tmp_path / "app" / "langgraph.json", "--port", 0)
    url = url_of(process)
    thread = httpx.post(f"{url}/threads", json={}).json()["thread_id"]
    agent = tmp_path / "app" / "agent.py"
    agent.write_text(
        agent.read_text().replace('"chat"', '"talk"').replace("chat(", "talk(").replace("(chat)", "(talk)")
    )
    until(process, "stderr", "starting again")
    again = url_of(process)
    assert httpx.get(f"{again}/threads/{thread}").status_code == 200
    nodes = httpx.get(f"{again}/assistants/agent/graph").json()["nodes"]
    assert "talk" in [node["id"] for node in nodes]
