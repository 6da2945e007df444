"""Whatever can be set, called or passed is written down."""

import json
import re
from pathlib import Path

import click
import pytest

from server.api.openapi import document
from server.api.operation import Operation
from server.app import OPERATIONS
from server.cli import dev, serve
from server.config.schema import ProjectFile
from server.config.settings import PREFIX, Settings

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
MARKDOWN = sorted([*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")])


def words(*files: str) -> set[str]:
    """The words of some documents, with dashes and underscores as part of them."""
    text = "\n".join((REPOSITORY / file).read_text(encoding="utf-8") for file in files)
    return set(re.findall(r"[\w-]+", text))


def variables() -> list[str]:
    """Both names of every setting: ours, and the one that the reference has for it."""
    found = []
    for field, info in Settings.model_fields.items():
        found.append(PREFIX + field.upper())
        if isinstance(info.validation_alias, str):
            found.append(info.validation_alias)
    return found


def operation_id(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


FLAGS = sorted(
    {
        name
        for command in (dev, serve)
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
        for name in (*option.opts, *option.secondary_opts)
    }
)


@pytest.mark.parametrize("variable", variables())
def test_every_setting_is_documented(variable: str) -> None:
    assert variable in words("docs/configuration.md")


def default_of(field: str) -> str | None:
    """How a row says a default that is one value; None for those that are said in words."""
    value = Settings.model_fields[field].default
    if value is None or isinstance(value, tuple):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("field", [field for field in Settings.model_fields if default_of(field)])
def test_every_setting_is_documented_with_its_default(field: str) -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    name = PREFIX + field.upper()
    (row,) = [line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line]
    assert re.search(rf"\| `?{re.escape(str(default_of(field)))}`?(?![\w.])[^|]*\|", row), row


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_is_documented(flag: str) -> None:
    assert flag in words("docs/configuration.md", "README.md")


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_says_in_the_code_what_it_does(field: str) -> None:
    assert Settings.model_fields[field].description


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_says_in_its_help_what_it_does(flag: str) -> None:
    options = [
        option
        for command in (dev, serve)
        for option in command.params
        if flag in (*option.opts, *option.secondary_opts)
    ]
    assert {bool(getattr(option, "help", None)) for option in options} == {True}


@pytest.mark.parametrize("operation", OPERATIONS, ids=operation_id)
def test_every_operation_is_in_the_openapi_document(operation: Operation) -> None:
    found = document(["g"], OPERATIONS)["paths"][operation.path][operation.method.lower()]
    assert found["summary"]
    assert str(operation.status) in found["responses"]
    assert {str(status) for status in operation.errors} <= set(found["responses"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=operation_id)
def test_every_operation_is_in_the_table_of_compatibility(operation: Operation) -> None:
    text = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    assert re.search(rf"{re.escape(operation.path)}(?![\w/{{])", text)


def test_every_key_of_the_project_file_is_in_the_table_of_compatibility() -> None:
    text = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    table = text.partition("## langgraph.json\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(ProjectFile.model_fields)


def test_the_openapi_document_refers_to_nothing_that_it_does_not_hold() -> None:
    made = document(["g"], OPERATIONS)
    links = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(made)))
    assert links <= set(made["components"]["schemas"])


def test_operations_have_different_names() -> None:
    found = [
        item["operationId"]
        for path in document(["g"], OPERATIONS)["paths"].values()
        for item in path.values()
    ]
    assert sorted(found) == sorted(set(found))


@pytest.mark.parametrize("file", MARKDOWN, ids=lambda file: file.relative_to(REPOSITORY).as_posix())
def test_no_link_between_documents_is_broken(file: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]+)", file.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (file.parent / link).exists()] == []


def test_documents_that_the_code_names_exist() -> None:
    named = {
        name
        for file in (REPOSITORY / "server").rglob("*.py")
        for name in re.findall(r"docs/[\w/-]+\.md", file.read_text(encoding="utf-8"))
    }
    assert [name for name in sorted(named) if not (REPOSITORY / name).exists()] == []
