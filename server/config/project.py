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

from ..errors import ConfigError
from ..models import GraphSpec

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
    # What is odd and no reason not to start, in the words of errors.
    warnings: tuple[str, ...] = ()


def load_project(path: str | os.PathLike[str]) -> Project:
    """Read and check langgraph.json; unknown top-level keys and `$schema` are ignored.

    Paths count from the file, not from the working directory (contract/resources.md 12, D70).
    Raises ConfigError, whose one message names the file, the key and what to do.
    """
    file = Path(os.path.abspath(path))  # not resolve(): what a symbolic link leads to has other neighbours
    return project_of(file, read_document(file))


def project_of(file: Path, document: dict[str, Any]) -> Project:
    """What a document says that stands in `file`, an absolute path. Raises ConfigError."""
    env, warnings = _environment(file, document.get("env"))
    return Project(
        path=file,
        root=file.parent,
        graphs=_graphs(file, document.get("graphs")),
        dependencies=_dependencies(file, document.get("dependencies")),
        env=MappingProxyType(env),
        raw=MappingProxyType(document),
        warnings=warnings,
    )


def dotenv_file(path: Path) -> dict[str, str]:
    """The variables of a dotenv file: `export`, quotes, comments, `${X}`; a name without `=` sets nothing.

    Raises ConfigError.
    """
    read_text(path, str(path))
    values = dotenv_values(path, encoding="utf-8-sig")
    return {name: text for name, text in values.items() if text is not None}


def _wrong(file: Path, key: str, problem: str) -> ConfigError:
    return ConfigError(f'{file}: "{key}" {problem}')


def read_text(file: Path, described: str) -> str:
    """A file that must be UTF-8 text. Raises ConfigError."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{described} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{described} is not UTF-8 text: save it as UTF-8.") from error


def read_document(file: Path) -> dict[str, Any]:
    """The JSON object in a file, unchecked otherwise. Raises ConfigError."""
    if not file.exists():
        raise ConfigError(f"{file} does not exist: create it, or name another file with --config.")
    try:
        document = json.loads(read_text(file, str(file)))
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


def _environment(file: Path, value: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    """The variables, and what is odd about them."""
    if value is None:
        return {}, ()
    if isinstance(value, str):
        source = file.parent / value
        # No error: what `langgraph dev` starts starts here too, and in a container the file is not there.
        if not source.exists():
            problem = f"names {source}, which does not exist: no variable is taken from it."
            return {}, (_wrong(file, "env", problem).message,)
        if not source.is_file():
            raise _wrong(file, "env", f"names {source}, which is not a file: correct or remove the key.")
        read_text(source, f'{file}: "env" names {source}, which')
        return dotenv_file(source), ()
    if not isinstance(value, dict):
        raise _wrong(file, "env", "must be an object of strings or the path of a dotenv file.")
    for name, text in value.items():
        if not isinstance(text, str):
            raise _wrong(file, f"env.{name}", "must be a string: put the value in quotes.")
        if not name or "=" in name or "\0" in name + text:
            raise _wrong(file, f"env.{name}", "is no possible variable: drop the empty name, '=' or NUL.")
    return dict(value), ()
