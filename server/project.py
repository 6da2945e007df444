"""langgraph.json -> a frozen Project (contract/resources.md 12).

Nothing here imports LangGraph or LangChain: the project's environment must come before their first import.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dotenv import dotenv_values

from .errors import ConfigError
from .models import GraphSpec

JAVASCRIPT_SUFFIXES = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts")


@dataclass(frozen=True, slots=True)
class Project:
    """A checked langgraph.json (contract/resources.md 12). Every path in it is relative to `root`."""

    path: Path
    root: Path
    graphs: tuple[GraphSpec, ...]
    dependencies: tuple[str, ...]
    # Often holds keys and passwords: never shown when a project is printed.
    env: Mapping[str, str] = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False)


def load_project(path: str | os.PathLike[str]) -> Project:
    """Read and check langgraph.json; unknown top-level keys and `$schema` are ignored.

    Paths count from the file, not from the working directory (contract/resources.md 12, D70).
    Raises ConfigError, whose one message names the file, the key and what to do.
    """
    file = Path(os.path.abspath(path))  # not resolve(): what a symbolic link leads to has other neighbours
    return _checked(file, _document(file))


def project_of(document: dict[str, Any], root: Path) -> Project:
    """What a langgraph.json in `root` would say. Raises ConfigError."""
    return _checked(root / "langgraph.json", document)


def _checked(file: Path, document: dict[str, Any]) -> Project:
    return Project(
        path=file,
        root=file.parent,
        graphs=_graphs(file, document.get("graphs")),
        dependencies=_dependencies(file, document.get("dependencies")),
        env=MappingProxyType(_environment(file, document.get("env"))),
        raw=MappingProxyType(document),
    )


def _wrong(file: Path, key: str, problem: str) -> ConfigError:
    return ConfigError(f'{file}: "{key}" {problem}')


def _text(file: Path, described: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{described} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{described} is not UTF-8 text: save it as UTF-8.") from error


def _document(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise ConfigError(f"{file} does not exist: create it, or name another file with --config.")
    try:
        document = json.loads(_text(file, str(file)))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{file} is not valid JSON: {error.msg} at {place}.") from error
    if not isinstance(document, dict):
        raise ConfigError(f'{file} must hold a JSON object, such as {{"graphs": {{…}}}}.')
    return document


def _graphs(file: Path, value: Any) -> tuple[GraphSpec, ...]:
    if not isinstance(value, dict) or not value:
        example = '{"agent": "./graphs/agent.py:graph"}'
        raise _wrong(file, "graphs", f"must be an object that names at least one graph, such as {example}.")
    return tuple(_graph(file, graph_id, entry) for graph_id, entry in value.items())


def _graph(file: Path, graph_id: str, entry: Any) -> GraphSpec:
    key = f"graphs.{graph_id}"
    if not graph_id:
        raise _wrong(file, "graphs", "has an entry without a name: give the graph an id.")
    parts = {"path": entry} if isinstance(entry, str) else entry
    if not isinstance(parts, dict) or not isinstance(parts.get("path"), str):
        raise _wrong(file, key, 'must be "file.py:variable" or an object with such a string as "path".')
    description = parts.get("description")
    if description is not None and not isinstance(description, str):
        raise _wrong(file, f"{key}.description", "must be a string.")
    return GraphSpec(graph_id, _target(file, key, parts["path"]), description)


def _target(file: Path, key: str, target: str) -> str:
    module, colon, variable = target.rpartition(":")
    where = module if colon else target
    if where.lower().endswith(JAVASCRIPT_SUFFIXES):
        raise _wrong(file, key, f"names a JavaScript graph ({target}): only Python graphs can be served.")
    if not module or not variable.isidentifier():
        raise _wrong(file, key, f'is "{target}": write file, colon and variable, as in "./agent.py:graph".')
    return target


def _dependencies(file: Path, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise _wrong(file, "dependencies", 'must be a list of strings, such as ["."].')
    return tuple(value)


def _environment(file: Path, value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, str):
        return _dotenv(file, value)
    if not isinstance(value, dict):
        raise _wrong(file, "env", "must be an object of strings or the path of a dotenv file.")
    for name, text in value.items():
        if not isinstance(text, str):
            raise _wrong(file, f"env.{name}", "must be a string: put the value in quotes.")
        if not name or "=" in name or "\0" in name + text:
            raise _wrong(file, f"env.{name}", "is no possible variable: drop the empty name, '=' or NUL.")
    return dict(value)


def _dotenv(file: Path, path: str) -> dict[str, str]:
    """The variables of a dotenv file: `export`, quotes, comments, `${X}`; a name without `=` sets nothing."""
    source = file.parent / path
    if not source.is_file():
        raise _wrong(file, "env", f"names {source}, which is not a file: create it or remove the key.")
    _text(source, f'{file}: "env" names {source}, which')
    values = dotenv_values(source, encoding="utf-8-sig")
    return {name: text for name, text in values.items() if text is not None}
