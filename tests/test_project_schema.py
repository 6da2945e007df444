"""The JSON schema of langgraph.json says what a start says: held against the same files."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fix_cli import graphwire

from server.commands.checking import READERS
from server.config.project import project_of, read_document
from server.config.schema import ProjectFile, project_schema, unknown_keys
from server.config.settings import Settings
from server.errors import ConfigError

REPOSITORY = Path(__file__).parents[1]
SHIPPED = REPOSITORY / "server" / "api" / "langgraph.schema.json"
SAMPLES = [
    REPOSITORY / "langgraph.json",
    REPOSITORY / "bench" / "langgraph.json",
    REPOSITORY / "server" / "commands" / "template" / "langgraph.json",
    *sorted((REPOSITORY / "tests" / "graphs").glob("*.json")),
]
GRAPHS = {"graphs": {"agent": "./agent.py:graph"}}
WRONG: list[dict[str, Any]] = [
    {},
    {"graphs": {}},
    {"graphs": ["./a.py:graph"]},
    {"graphs": {"a": 5}},
    {"graphs": {"a": "./a.py"}},
    {"graphs": {"a": {"description": "x"}}},
    {**GRAPHS, "dependencies": "."},
    {**GRAPHS, "env": ["A=1"]},
    {**GRAPHS, "env": {"A": 1}},
    {**GRAPHS, "store": {"index": {"embed": "x:y"}}},
    {**GRAPHS, "store": {"index": {"embed": "x", "dims": 1}}},
    {**GRAPHS, "store": {"index": {"embed": "x:y", "dims": 0}}},
    {**GRAPHS, "store": {"ttl": {"default_ttl": 0}}},
    {**GRAPHS, "store": {"ttl": {"refresh_on_read": "no"}}},
    {**GRAPHS, "checkpointer": {"ttl": {"strategy": "forget"}}},
    {**GRAPHS, "checkpointer": {"ttl": {"sweep_limit": 0}}},
    {**GRAPHS, "checkpointer": {"retention": {"day": 1}}},
    {**GRAPHS, "http": {"cors": {"max_age": 100_000}}},
    {**GRAPHS, "webhooks": {"urls": {}}},
    {**GRAPHS, "webhooks": {"url": {"max_url_length": 0}}},
    {**GRAPHS, "webhooks": {"url": {"require_https": "yes"}}},
]
RIGHT: list[dict[str, Any]] = [
    {**GRAPHS, "$schema": "x", "colour": 1},
    {"graphs": {"a": "package.module:graph", "b": {"path": "./b.py:graph", "description": "x"}}},
    {**GRAPHS, "env": {"A": "1"}, "dependencies": [".", "rich"]},
    {
        **GRAPHS,
        "store": {"index": {"embed": "./e.py:f", "dims": 3, "fields": ["$"]}, "ttl": {"default_ttl": 1.5}},
    },
    {
        **GRAPHS,
        "checkpointer": {"ttl": {"strategy": "keep_latest", "default_ttl": 1}, "retention": {"days": 0.5}},
    },
    {**GRAPHS, "http": {"cors": {"allow_origins": ["https://a.example"]}, "mount_prefix": "/x"}},
    {**GRAPHS, "webhooks": {"url": {"allowed_ports": [443]}, "headers": {"X": "y"}}},
]


def starts(document: dict[str, Any]) -> bool:
    """Whether the readers of a start take it."""
    try:
        project = project_of(Path("/project/langgraph.json"), document)
        for read in READERS.values():
            read(project, Settings())
    except ConfigError:
        return False
    return True


@pytest.fixture(scope="module")
def schema() -> Any:
    return jsonschema_rs.validator_for(project_schema())


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_the_projects_of_this_repository_are_in_order(schema: Any, file: Path) -> None:
    document = read_document(file)
    assert [str(error) for error in schema.iter_errors(document)] == []
    assert list(unknown_keys(document)) == []


@pytest.mark.parametrize("document", WRONG, ids=json.dumps)
def test_what_a_start_refuses_the_schema_refuses(schema: Any, document: dict[str, Any]) -> None:
    assert not starts(document)
    assert not schema.is_valid(document)


@pytest.mark.parametrize("document", RIGHT, ids=json.dumps)
def test_what_a_start_takes_the_schema_takes(schema: Any, document: dict[str, Any]) -> None:
    assert starts(document)
    assert schema.is_valid(document)


def test_the_schema_that_is_shipped_is_the_one_that_the_models_make() -> None:
    """`graphwire check --schema > server/api/langgraph.schema.json` makes it anew."""
    assert json.loads(SHIPPED.read_text()) == project_schema()


def test_the_schema_is_printed_and_served(server: Any) -> None:
    printed = graphwire("check", "--schema")
    assert json.loads(printed.stdout) == project_schema() == server.get("/schema/langgraph.json")


def test_every_key_says_what_it_is() -> None:
    silent = [name for name, field in ProjectFile.model_fields.items() if not field.description]
    assert set(silent) <= {"store", "checkpointer", "auth", "http", "webhooks"}  # their classes do
