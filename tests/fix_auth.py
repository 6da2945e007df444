"""Configurations with authentication, and the headers of users."""

import json
from pathlib import Path
from typing import Any

from fix_fork import REPO

GRAPHS = REPO / "tests" / "graphs"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


ALICE, BOB = bearer("alice"), bearer("bob")


def variant(folder: Path, auth: Any, **more: Any) -> Path:
    """The graphs of auth.json with another `auth`."""
    found = json.loads((GRAPHS / "auth.json").read_text())
    graphs = {graph: str(GRAPHS / path) for graph, path in found["graphs"].items()}
    document = {"dependencies": [str(GRAPHS)], "graphs": graphs, "auth": auth, **more}
    file = folder / "langgraph.json"
    file.write_text(json.dumps(document))
    return file
