"""Everything that is wrong with a project, at once: the file, the environment, and what it names.

The rules are those of a start, not a second set: whoever reads a section at a start is asked, and asked
again without what he complained of, until he has no complaint left. Every one of them says
`<file>: "<key>" <what is wrong and what to do>`.
"""

import copy
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config.auth import auth_rules
from ..config.checkpointer import retention_rules
from ..config.http import http_rules
from ..config.image import image_rules
from ..config.places import Places, path_of, places
from ..config.project import Project, project_of, read_document, read_text
from ..config.refusals import refusals
from ..config.schema import unknown_keys
from ..config.settings import (
    Settings,
    apply_environment,
    load_settings,
    load_webhooks,
    settings_problems,
    unkept_promises,
)
from ..config.store import store_rules
from ..errors import ConfigError, StartupError

PROBLEMS_MAX = 200
_GONE = object()
# What a key may be instead, so that the reader goes on to the next: nothing, or the first that he takes.
_STAND_INS: tuple[Any, ...] = (_GONE, "x:y", 1, {}, [], {"-": "x:y"})

Reader = Callable[[Project, Settings], object]

# Who reads which section at a start. Raises ConfigError.
READERS: dict[str, Reader] = {
    "store": lambda project, _: store_rules(project.path, project.raw.get("store")),
    "checkpointer": lambda project, _: retention_rules(project.path, project.raw.get("checkpointer")),
    "http": lambda project, settings: http_rules(project.path, project.raw.get("http"), settings),
    "auth": lambda project, settings: auth_rules(project.path, project.raw.get("auth"), settings.api_keys),
    "webhooks": load_webhooks,
    "python_version": lambda project, _: image_rules(project.path, project.raw),
}


def _embeddings(project: Project, _: Settings) -> object:
    from ..graph.embeddings import load_embeddings  # imports LangGraph: after the environment

    index = store_rules(project.path, project.raw.get("store")).index
    return index and load_embeddings(index.embed, project.root)


def _guard(project: Project, settings: Settings) -> object:
    from ..guarding import guarded

    return guarded(project, settings)


def _custom_app(project: Project, settings: Settings) -> object:
    from ..api.custom import load_custom_app

    app = http_rules(project.path, project.raw.get("http"), settings).app
    return app and load_custom_app(app, project.root)


# What else of the user's code a start imports, by the key that names it. Raises StartupError.
LOADERS: dict[str, Reader] = {
    "store.index.embed": _embeddings,
    "auth.path": _guard,
    "auth.jwt": _guard,
    "http.app": _custom_app,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what to do. A warning keeps nothing from starting."""

    where: str  # file:line:column, or "environment"
    text: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {'warning: ' if self.warning else ''}{self.text}"


def problems_of(path: Path, env: Mapping[str, str], *, allow_outside: bool = False) -> list[Problem]:
    """Check a langgraph.json as `serve` would read it, graphs imported, with `env` over its environment.

    Changes the environment and the import path of the process. Starts nothing.
    """
    file = Path(path).absolute()
    try:
        text = read_text(file, str(file)) if file.exists() else ""
        document = read_document(file)
    except ConfigError as error:
        return [Problem(*_shown(path, file, error.message))]
    return list(_Check(path, file, document, places(text)).all(env, allow_outside))


def _shown(path: Path, file: Path, message: str) -> tuple[str, str]:
    """A file that is no JSON: where, and what is wrong."""
    found = re.search(r"at line (\d+), column (\d+)", message)
    where = f"{path}:{found[1]}:{found[2]}" if found else str(path)
    return where, message.removeprefix(f"{file} ")


class _Check:
    """One document under examination."""

    def __init__(self, path: Path, file: Path, document: dict[str, Any], found: Places) -> None:
        self._path, self._file, self._document, self._places = path, file, document, found

    def all(self, env: Mapping[str, str], allow_outside: bool) -> Iterator[Problem]:
        for repeated in self._places.repeated:
            yield self._at(
                repeated, f'"{repeated[-1]}" stands here for the second time: only this one counts.'
            )
        for unknown, known in unknown_keys(self._document):
            near = difflib.get_close_matches(str(unknown[-1]), known, 1)
            hint = f': did you mean "{near[0]}"?' if near else "; it has no effect."
            yield self._at(unknown, f'"{".".join(map(str, unknown))}" is no known key{hint}', warning=True)
        rest = copy.deepcopy(self._document)
        yield from self._complaints(lambda: project_of(self._file, rest), rest)
        project = self._readable(rest)
        for warning in project.warnings if project else ():
            yield self._problem(warning, warning=True)
        if project is None:
            return
        yield from map(self._problem, refusals(project, allow_outside=allow_outside))
        apply_environment(project, env)
        wrong = settings_problems()
        yield from (Problem("environment", text) for text in (*wrong, *unkept_promises()))
        if not wrong:
            yield from self._sections(project, load_settings())

    def _readable(self, rest: dict[str, Any]) -> Project | None:
        """What is left of the file without what is wrong in it; None when that is nothing."""
        try:
            return project_of(self._file, rest)
        except ConfigError:
            return None

    def _sections(self, project: Project, settings: Settings) -> Iterator[Problem]:
        rest = copy.deepcopy(dict(project.raw))
        for reader in READERS.values():
            ask = _asking(reader, project, settings, rest)
            yield from self._complaints(ask, rest)
        yield from self._imports(replace(project, raw=rest), settings)

    def _complaints(self, ask: Callable[[], object], rest: dict[str, Any]) -> Iterator[Problem]:
        """What a reader complains of; `rest` is left without it."""
        told: list[str] = []
        while (message := _complaint(ask)) is not None and len(told) < PROBLEMS_MAX:
            key = self._key(message)
            if not any(_within(earlier, key) for earlier in told):  # else it only misses what we took away
                told.append(key)
                yield self._problem(message)
            if not _repair(rest, key, lambda: self._key(_complaint(ask) or "")):
                return

    def _imports(self, project: Project, settings: Settings) -> Iterator[Problem]:
        """Import what a start imports: each graph, whatever became of the others, then the rest."""
        from ..graph.loader import load_graph

        named = self._document["graphs"] if isinstance(self._document.get("graphs"), dict) else {}
        for spec in (spec for spec in project.graphs if spec.graph_id in named):
            try:
                load_graph(spec, project.root)
            except StartupError as error:
                yield self._at(path_of(f"graphs.{spec.graph_id}", self._document), error.message)
        for key, load in LOADERS.items():
            try:
                # Only what the user said: a stand-in leads nowhere.
                said = _at(self._document, key)
                if said is not None and _at(project.raw, key) == said:
                    load(project, settings)
            except StartupError as error:
                yield self._at(path_of(key, self._document), error.message)

    def _key(self, message: str) -> str:
        found = re.match(rf'{re.escape(str(self._file))}: "([^"]*)"', message)
        return found[1] if found else ""

    def _problem(self, message: str, *, warning: bool = False) -> Problem:
        key = self._key(message)
        return self._at(
            path_of(key, self._document), message.removeprefix(f"{self._file}: "), warning=warning
        )

    def _at(self, path: tuple[str | int, ...], text: str, *, warning: bool = False) -> Problem:
        line, column = self._places.line_of(path)
        return Problem(f"{self._path}:{line}:{column}", text, warning)


def _asking(
    reader: Reader, project: Project, settings: Settings, rest: dict[str, Any]
) -> Callable[[], object]:
    return lambda: reader(replace(project, raw=rest), settings)


def _complaint(ask: Callable[[], object]) -> str | None:
    try:
        ask()
    except ConfigError as error:
        return error.message.partition("\n")[0]  # some tell several: the others come when this one is gone
    return None


def _within(outer: str, key: str) -> bool:
    """Whether a complaint about `key` may come of what was taken away at `outer`."""
    return outer == key or outer.startswith(f"{key}.")


def _repair(rest: dict[str, Any], key: str, key_now: Callable[[], str]) -> bool:
    """Put something else there until the complaint is another one. False when nothing helps."""
    *above, name = _whole_path(key, rest)
    holder: Any = rest
    for part in above:
        if not isinstance(holder.get(part), dict):  # a list, say: all of it goes
            name = part
            break
        holder = holder[part]
    for stand_in in _STAND_INS:
        if stand_in is _GONE:
            holder.pop(name, None)
        else:
            holder[name] = stand_in
        if key_now() != key:
            return True
    holder.pop(name, None)
    return False


def _whole_path(key: str, document: dict[str, Any]) -> tuple[str | int, ...]:
    """The path behind a key, the last part of which need not be there."""
    found = path_of(key, document)
    rest = key.split(".")[sum(str(part).count(".") + 1 for part in found) :]
    return (*found, *rest)


def _at(document: Mapping[str, Any], key: str) -> Any:
    found: Any = document
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
