"""What a project may say and `serve` does not take: `dev` tells of it and goes on.

`langgraph dev` starts such a project, so `graphwire dev` does too. In production a key that has no effect may
be a promise that is not kept, and a path out of the project the work of somebody else (reliability I8).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .project import Project

_NOT_THERE = {
    "encryption": "has no effect here: what is kept is not encrypted. Encrypt the disk, and remove the key.",
    "checkpointer.path": "has no effect here: checkpoints are kept with the runs. Remove the key.",
}
_TARGETS = ("store.index.embed", "auth.path", "http.app")  # "file.py:variable" besides the graphs


def refuse(project: Project, *, allow_outside: bool) -> None:
    """Raise ConfigError for the first thing that `serve` does not take."""
    for message in refusals(project, allow_outside=allow_outside):
        raise ConfigError(message)


def refusals(project: Project, *, allow_outside: bool) -> Iterator[str]:
    """All of them, in the words of errors."""
    for key, problem in _NOT_THERE.items():
        if _said(project, key) is not None:
            yield f'{project.path}: "{key}" {problem}'
    if allow_outside:
        return
    for key, path in _paths(project):
        if not _is_inside(project.root, path):
            hint = "move it there, or start with --allow-outside"
            yield f'{project.path}: "{key}" leads out of the project, to {path}: {hint}.'


def _paths(project: Project) -> Iterator[tuple[str, str]]:
    """Every path of the file, with its key."""
    for spec in project.graphs:
        yield from _file_of(f"graphs.{spec.graph_id}", spec.target)
    for key in _TARGETS:
        if isinstance(target := _said(project, key), str):
            yield from _file_of(key, target)
    if isinstance(project.raw.get("env"), str):
        yield "env", project.raw["env"]
    for entry in project.dependencies:
        if os.path.isdir(project.root / entry):
            yield "dependencies", entry


def _file_of(key: str, target: str) -> Iterator[tuple[str, str]]:
    file = target.rpartition(":")[0]
    if "/" in file or os.sep in file or file.endswith(".py"):
        yield key, file


def _is_inside(root: Path, path: str) -> bool:
    """Where a path really leads, symbolic links followed."""
    return (root / path).resolve().is_relative_to(root.resolve())


def _said(project: Project, key: str) -> Any:
    found: Any = project.raw
    for part in key.split("."):
        found = found.get(part) if hasattr(found, "get") else None
    return found
