"""A project with an application of its own: graphs of the tests beside the `http.app` that a test writes."""

import json
import shutil
from pathlib import Path
from typing import Any

from fix_server import CONFIG

GRAPHS = ("gate", "echo", "joke")
SEEN = """
from langgraph.graph import START, StateGraph

def see(state, config):
    return {"seen": {k: v for k, v in config["configurable"].items() if isinstance(v, str)}}

graph = StateGraph(dict).add_node(see).add_edge(START, "see").compile()
"""


def project(folder: Path, http: dict[str, Any], webapp: str = "", **keys: Any) -> Path:
    """A langgraph.json in `folder`; the application's source becomes webapp.py."""
    folder.mkdir(parents=True, exist_ok=True)
    known = json.loads(CONFIG.read_text())["graphs"]
    for name in GRAPHS:
        shutil.copy(CONFIG.parent / f"{name}.py", folder)
    (folder / "seen.py").write_text(SEEN)
    (folder / "webapp.py").write_text(webapp)
    graphs = {name: known[name] for name in GRAPHS} | {"seen": "./seen.py:graph"}
    config = folder / "langgraph.json"
    config.write_text(json.dumps({"graphs": graphs, "http": http, **keys}))
    return config
