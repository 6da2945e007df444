"""`graphwire check` as a person meets it: every problem at once, each at its line, and nothing is started."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fix_cli import graphwire, project

__all__ = ["project"]

WRONG = """{
  "graphs": {
    "small": "./small.py:nothing",
    "odd": 5,
    "away": "../away.py:graph",
    "gone": "./gone.py:graph"
  },
  "store": {
    "index": {"embed": 7, "dims": "many"},
    "ttl": {"default_ttl": 0}
  },
  "checkpointer": {"ttl": {"strategy": "forget"}, "path": "./saver.py:make"},
  "http": {"cors": {"allow_origins": ["here"], "max_age": -1}, "app": "./web.py:app", "disable_runs": 1},
  "webhooks": {"headers": {"X-Key": "${{ env.OTHER }}"}, "url": {"allowed_ports": 5}},
  "encryption": {"path": "./secret.py:hooks"}
}
"""


def check(config: Path, *flags: str) -> "tuple[int, list[str]]":
    done = graphwire("check", "--config", config, *flags)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [line.removeprefix(str(config)) for line in done.stdout.splitlines()]


def test_a_project_that_is_in_order_is_said_to_be(project: Path) -> None:
    assert check(project) == (0, [": nothing is wrong."])


def test_every_problem_of_a_file_is_told_at_once_with_its_line(project: Path) -> None:
    project.write_text(WRONG)
    status, lines = check(project)
    assert status == 1
    expected = [
        (3, 'Graph "small" (./small.py:nothing) cannot be loaded: ./small.py has no variable'),
        (4, '"graphs.odd" must be'),
        (5, '"graphs.away" leads out of the project'),
        (5, 'Graph "away"'),
        (6, 'Graph "gone"'),
        (9, '"store.index.embed" must be a string'),
        (9, '"store.index.dims" must be a number'),
        (10, '"store.ttl.default_ttl" must be a number of minutes'),
        (12, '"checkpointer.ttl.strategy" must be one of'),
        (12, '"checkpointer.path" has no effect here'),
        (13, '"http.cors.allow_origins"'),
        (13, '"http.cors.max_age"'),
        (13, '"http.disable_runs"'),
        (13, 'The application of "http.app" (./web.py:app) cannot be loaded: there is no file'),
        (14, '"webhooks.headers.X-Key" names OTHER'),
        (14, '"webhooks.url.allowed_ports" must be a list'),
        (15, '"encryption" has no effect here'),
    ]
    for line, text in expected:
        assert [told for told in lines if told.startswith(f":{line}:") and text in told], (line, text, lines)
    assert lines[-1] == f": {len(expected)} problems."
    assert len(lines) == len(expected) + 1


def test_problems_of_the_environment_are_told_beside_those_of_the_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    project.write_text(
        '{"graphs": 5, "env": {"N_JOBS_PER_WORKER": "none", "DATABASE_URI": "postgresql://x"}}'
    )
    status, lines = check(project)
    assert status == 1
    assert lines[0].startswith(':1:2: "graphs" must be an object')
    assert {line.partition("=")[0] for line in lines[1:-1]} == {
        "environment: LOG_LEVEL",
        "environment: N_JOBS_PER_WORKER",
    }


def test_a_file_that_is_no_json_is_told_at_its_line(project: Path) -> None:
    project.write_text('{\n  "graphs": nope\n}')
    status, lines = check(project)
    assert status == 1
    assert lines[0] == ":2:13: is not valid JSON: Expecting value at line 2, column 13."


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    status, lines = check(tmp_path / "langgraph.json")
    assert status == 1
    assert "does not exist" in lines[0]


def test_a_key_that_nobody_knows_is_a_warning_with_the_likely_one(project: Path) -> None:
    document = {
        "$schema": "x",
        "graphs": {"small": {"path": "./small.py:graph", "describtion": "x"}},
        "dependancies": ["."],
        "store": {"index": None, "tll": {}},
    }
    project.write_text(json.dumps(document))
    status, lines = check(project)
    assert status == 0
    told = [line.partition("warning: ")[2] for line in lines[:-1]]
    assert sorted(told) == [
        '"dependancies" is no known key: did you mean "dependencies"?',
        '"graphs.small.describtion" is no known key: did you mean "description"?',
        '"store.tll" is no known key: did you mean "ttl"?',
    ]


def test_a_dotenv_file_that_is_missing_is_a_warning(project: Path) -> None:
    project.write_text('{"graphs": {"small": "./small.py:graph"}, "env": ".env"}')
    status, lines = check(project)
    assert status == 0
    assert 'warning: "env" names' in lines[0]


def test_the_users_code_is_imported_as_at_a_start(project: Path) -> None:
    """Its own environment, its dependencies first, and the embeddings besides the graphs."""
    (project.parent / "lib").mkdir()
    (project.parent / "lib" / "words.py").write_text("import os\nWORD = os.environ['WORD']\n")
    (project.parent / "small.py").write_text(
        "from words import WORD\nfrom langgraph.graph import START, StateGraph\n"
        "graph = StateGraph(dict).add_node('n', lambda s: s).add_edge(START, 'n')\n"
    )
    document: dict[str, Any] = {
        "graphs": {"small": "./small.py:graph"},
        "dependencies": ["./lib"],
        "env": {"WORD": "yes"},
        "store": {"index": {"embed": "./small.py:missing", "dims": 3}},
    }
    project.write_text(json.dumps(document))
    status, lines = check(project)
    assert status == 1
    assert len(lines) == 2
    assert "store.index.embed" in lines[0]
    del document["store"], document["env"]
    project.write_text(json.dumps(document))
    assert "KeyError: 'WORD' (lib/words.py, line 2)" in check(project)[1][0]
    (project.parent / "my.env").write_text("WORD=no")
    assert check(project, "--env-file", str(project.parent / "my.env"))[0] == 0


def test_authentication_and_the_users_application_are_checked_and_imported(project: Path) -> None:
    (project.parent / "web.py").write_text("app = 5\n")
    (project.parent / "auth.py").write_text("from langgraph_sdk import Auth\nauth = Auth()\nbroken = 1 / 0\n")
    more: dict[str, Any] = {
        "http": {"app": "./web.py:app", "middleware_order": "last", "disable_runs": "no"},
        "auth": {"path": "./auth.py:auth", "pth": 1, "unmatched": "all"},
    }
    graphs = {"graphs": {"small": "./small.py:graph"}}
    project.write_text(json.dumps({**graphs, **more}))
    status, lines = check(project)
    assert status == 1
    for key in ("http.middleware_order", "http.disable_runs", "auth.pth", "auth.unmatched"):
        assert [line for line in lines if f'"{key}"' in line], (key, lines)
    project.write_text(
        json.dumps({**graphs, "http": {"app": "./web.py:app"}, "auth": {"path": "./auth.py:auth"}})
    )
    lines = check(project)[1]
    assert [line for line in lines if "it is a int; name a Starlette or a FastAPI" in line], lines
    assert [line for line in lines if "ZeroDivisionError" in line and "auth.py, line 3" in line], lines


def test_a_check_leaves_nothing_behind(project: Path) -> None:
    check(project)
    assert not (project.parent / ".graphwire").exists()


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"encryption": {"path": "./x.py:y"}}, "encryption"),
        ({"checkpointer": {"path": "./x.py:y"}}, "checkpointer.path"),
        ({"env": "../.env"}, "env"),
        ({"dependencies": [".."]}, "dependencies"),
        ({"store": {"index": {"embed": "../x.py:y", "dims": 3}}}, "store.index.embed"),
        ({"graphs": {"small": "./link.py:graph"}}, "graphs.small"),
    ],
)
def test_in_production_a_promise_that_is_not_kept_and_a_way_out_of_the_project_are_refused(
    project: Path, command: str, more: dict[str, object], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URI", "postgresql://127.0.0.1:1/x")
    monkeypatch.setenv("REDIS_URI", "redis://127.0.0.1:1")
    (project.parent.parent / ".env").write_text("")
    outside = project.parent.parent / "outside.py"
    outside.write_text("")
    (project.parent / "link.py").symlink_to(outside)
    project.write_text(json.dumps({"graphs": {"small": "./small.py:graph"}, **more}))
    done = graphwire(command, "--config", project)
    assert done.returncode == 2
    assert f'"{named}"' in done.stderr


def test_a_key_that_should_encrypt_is_refused_and_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "0123456789abcdef")
    done = graphwire("serve", "--config", project)
    assert done.returncode == 2
    assert "LANGGRAPH_AES_KEY has no effect here: nothing is encrypted" in done.stderr
    status, lines = check(project)
    assert status == 1
    assert lines[0].startswith("environment: LANGGRAPH_AES_KEY has no effect here")
    assert "0123456789abcdef" not in done.stderr + "".join(lines)


def test_a_path_out_of_the_project_is_allowed_on_request(project: Path) -> None:
    (project.parent.parent / "outside.py").write_text((project.parent / "small.py").read_text())
    project.write_text('{"graphs": {"small": "../outside.py:graph"}}')
    assert check(project)[0] == 1
    assert check(project, "--allow-outside")[0] == 0


def test_the_exit_status_is_1_whatever_the_users_code_does(project: Path) -> None:
    (project.parent / "small.py").write_text("import sys\nsys.exit(0)\n")
    done: subprocess.CompletedProcess[str] = graphwire("check", "--config", project)
    assert done.returncode == 1
    assert "its module ended the process" in done.stdout
