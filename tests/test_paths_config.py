"""Files that langgraph.json names: in the project, or in a directory of `dependencies` (reliability I8)."""

import json
from pathlib import Path
from typing import Any

import pytest
from fix_cli import GRAPH, graphwire

from server.errors import ConfigError
from server.paths_config import check_paths
from server.project import load_project

INSIDE = {"graphs": {"g": "./g.py:graph"}}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A project beside other things."""
    for folder in ("project/sub", "shared"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("project/g.py", "project/sub/g.py", "shared/g.py", "outside.py"):
        (tmp_path / file).write_text(GRAPH)
    (tmp_path / "outside.env").write_text("A=1")
    (tmp_path / "project" / "link.py").symlink_to(tmp_path / "outside.py")
    (tmp_path / "project" / "inner.py").symlink_to(tmp_path / "project" / "g.py")
    return tmp_path


def check(home: Path, *, outside: bool = False, **keys: Any) -> None:
    config = home / "project" / "langgraph.json"
    config.write_text(json.dumps(INSIDE | keys))
    check_paths(load_project(config), outside=outside)


@pytest.mark.parametrize(
    "target",
    ["./g.py:graph", "sub/../g.py:graph", "./sub/g.py:graph", "./inner.py:graph", "some.module:graph"],
)
def test_what_lies_in_the_project_may_be_named(home: Path, target: str) -> None:
    check(home, graphs={"g": target})


def test_what_lies_in_a_directory_of_the_dependencies_may_be_named(home: Path) -> None:
    check(home, graphs={"g": "../shared/g.py:graph"}, dependencies=[".", "../shared", "langchain"])


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"graphs": {"g": "../outside.py:graph"}}, "graphs.g"),
        ({"graphs": {"g": "./sub/../../outside.py:graph"}}, "graphs.g"),
        ({"graphs": {"g": "/outside.py:graph"}}, "graphs.g"),
        ({"graphs": {"g": "./link.py:graph"}}, "graphs.g"),
        ({"graphs": {"g": {"path": "../shared/g.py:graph"}}}, "graphs.g"),
        ({"http": {"app": "../outside.py:app"}}, "http.app"),
        ({"auth": {"path": "../outside.py:auth"}}, "auth.path"),
        ({"checkpointer": {"path": "../outside.py:saver"}}, "checkpointer.path"),
        ({"encryption": {"path": "../outside.py:encryption"}}, "encryption.path"),
        ({"store": {"index": {"embed": "../outside.py:embed", "dims": 3}}}, "store.index.embed"),
        ({"env": "../outside.env"}, "env"),
    ],
)
def test_what_lies_elsewhere_is_refused_unless_that_is_allowed(
    home: Path, keys: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError, match=f'"{key}" leads out of the project'):
        check(home, **keys)
    check(home, outside=True, **keys)


def test_every_path_is_told_at_once(home: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check(
            home, graphs={"a": "../outside.py:graph", "b": "/x.py:graph"}, http={"app": "../outside.py:app"}
        )
    assert all(key in caught.value.message for key in ("graphs.a", "graphs.b", "http.app"))


def test_a_server_does_not_start_on_what_lies_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = home / "project" / "langgraph.json"
    config.write_text('{"graphs": {"g": "../outside.py:graph"}}')
    refused = graphwire("migrate", "--config", config)
    assert (refused.returncode, "GRAPHWIRE_OUTSIDE_PATHS" in refused.stderr) == (2, True)
    monkeypatch.setenv("GRAPHWIRE_OUTSIDE_PATHS", "true")
    assert graphwire("migrate", "--config", config).returncode == 0
