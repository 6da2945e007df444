"""Where the files that langgraph.json names may lie: in the project, or in a directory of `dependencies`.

A part of `config`. Whoever can write one line of that file must not thereby load any file of the machine
(reliability I8).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .project import Project

HINT = "Move it into the project, or set GRAPHWIRE_OUTSIDE_PATHS=true."


def check_paths(project: Project, *, outside: bool) -> None:
    """Raises ConfigError with every path that leads out of the project, unless all may (`outside`)."""
    if outside:
        return
    places = [project.root, *(project.root / entry for entry in project.dependencies)]
    roots = [place.resolve() for place in places if place.is_dir()]
    problems = [
        f'{project.path}: "{key}" leads out of the project: {target}. {HINT}'
        for key, target in _targets(project)
        if not _is_inside(project.root / target, roots)
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _is_inside(file: Path, roots: list[Path]) -> bool:
    """Also of what a symbolic link leads to."""
    found = file.resolve()
    return any(found.is_relative_to(root) for root in roots)


def _targets(project: Project) -> Iterator[tuple[str, str]]:
    """The keys that name files, with the files; names of modules are found on Python's path instead."""
    for graph in project.graphs:
        yield from _file(f"graphs.{graph.graph_id}", graph.target)
    for key in ("http.app", "auth.path", "encryption.path", "checkpointer.path", "store.index.embed"):
        yield from _file(key, _value(project.raw, key))
    env = project.raw.get("env")
    if isinstance(env, str):
        yield "env", env


def _file(key: str, target: Any) -> Iterator[tuple[str, str]]:
    if isinstance(target, str):
        name, colon, _ = target.rpartition(":")
        if colon and ("/" in name or "\\" in name or name.endswith(".py")):
            yield key, name


def _value(raw: Mapping[str, Any], key: str) -> Any:
    found: Any = raw
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
