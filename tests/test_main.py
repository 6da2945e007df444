"""The package runs under a private name, so that a project may own a module called `server`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

GRAPH = """
from server import WORD
from langgraph.graph import START, StateGraph
builder = StateGraph(dict)
builder.add_node("say", lambda state: {"word": WORD})
builder.add_edge(START, "say")
graph = builder.compile()
"""

SERVE = """
import sys
from pathlib import Path
from server.__main__ import import_privately
import_privately()
from _graphwire.config.settings import apply_environment
from _graphwire.config.project import load_project
project = load_project(sys.argv[1])
apply_environment(project)
from _graphwire.graph.loader import load_graph
source = load_graph(project.graphs[0], project.root)
print(source.target.invoke({})["word"], type(source).__module__)
"""


def run(script: str, *arguments: str, cwd: Path) -> str:
    """What a fresh Python prints, with this package importable and `cwd` as its working directory."""
    done = subprocess.run(
        # -P: a script on the command line would otherwise put the working directory first, unlike a command.
        [sys.executable, "-P", "-c", script, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["server.py", "server/__init__.py"])
def test_a_project_with_its_own_server_module_is_served(tmp_path: Path, module: str) -> None:
    (tmp_path / module).parent.mkdir(exist_ok=True)
    (tmp_path / module).write_text('WORD = "mine"')
    (tmp_path / "agent.py").write_text(GRAPH)
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}}))
    assert run(SERVE, str(config), cwd=tmp_path) == "mine _graphwire.graph.loader"


def test_the_public_name_is_free_afterwards(tmp_path: Path) -> None:
    script = (
        "import sys, server.errors; from server.__main__ import import_privately; import_privately()\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'server'])"
    )
    assert run(script, cwd=tmp_path) == "[]"


def test_importing_privately_twice_gives_one_package(tmp_path: Path) -> None:
    script = "from server.__main__ import import_privately as p; print(p() is p(), p().__name__)"
    assert run(script, cwd=tmp_path) == "True _graphwire"
