"""One entry of `graphs` in langgraph.json → the object it names and how to call it.

The rules are those of contract/resources.md 13.
"""

import hashlib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncContextDecorator, ContextDecorator, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph_sdk.runtime import ServerRuntime, _ServerRuntimeBase

from ..errors import GraphLoadError, StartupError
from ..models import GraphSpec

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter of a factory: what it gets, and under which name if it must be named."""

    gets: Literal["config", "runtime"]
    keyword: str | None = None
    # The X of an annotation `ServerRuntime[X]`: the class that the run's context is made into.
    context_schema: Any = None


@dataclass(frozen=True, slots=True)
class GraphSource:
    """What langgraph.json names: a compiled graph (never changed), or a factory called at each use."""

    spec: GraphSpec
    kind: Literal["graph", "factory"]
    target: Any
    arguments: tuple[Argument, ...] = ()


def load_graph(spec: GraphSpec, root: Path) -> GraphSource:
    """Import what `spec` names; file paths count from `root`, modules are found on sys.path.

    A factory is not called, an uncompiled StateGraph is compiled. Raises GraphLoadError, whose one message
    names the graph, its target and the cause; `__cause__` keeps the exception of the user's module.
    """
    with explained(f'Graph "{spec.graph_id}" ({spec.target})', root, GraphLoadError):
        value = variable_of(spec.target, root, _graphs_in)
        if isinstance(value, StateGraph):
            value = value.compile()
        if isinstance(value, Pregel):
            return GraphSource(spec, "graph", _without_own_persistence(value))
        return GraphSource(spec, "factory", value, _arguments(_factory(value)))


def variable_of(target: str, root: Path, hint: Callable[[ModuleType], str] = lambda _: "") -> Any:
    """What "file.py:variable" or "package.module:variable" names; import it within `explained`."""
    module_name, _, variable = target.rpartition(":")
    module = _module(module_name, root)
    value = getattr(module, variable, _MISSING)
    if value is _MISSING:
        raise Unfit(f'{module_name} has no variable "{variable}"{hint(module)}.')
    return value


class Unfit(Exception):
    """What is wrong with a target, in words for its author."""


@contextmanager
def explained(what: str, root: Path, kind: type[StartupError]) -> Iterator[None]:
    """Turn whatever importing the user's module raises, `sys.exit()` included, into one readable message."""
    where = f"{what} cannot be loaded"
    try:
        yield
    except Unfit as error:
        raise kind(f"{where}: {error}") from error.__cause__
    except SystemExit as error:
        raise kind(f"{where}: its module ended the process, sys.exit({error.code!r}).") from error
    except SyntaxError as error:
        place = f"{error.filename}, line {error.lineno}"
        raise kind(f"{where}: {type(error).__name__} in {place}: {error.msg}.") from error
    except Exception as error:
        cause = f"{type(error).__name__}: {error}{_place(error, root)}"
        raise kind(f"{where}: {cause}") from error


def _place(error: Exception, root: Path) -> str:
    """The user's line that raised: the last frame in the project that is neither ours nor a package's."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_relative_to(root) and "site-packages" not in file.parts and frame.filename != __file__:
            return f" ({file.relative_to(root)}, line {frame.lineno})"
    return ""


def _graphs_in(module: ModuleType) -> str:
    found = [name for name, value in vars(module).items() if isinstance(value, Pregel | StateGraph)]
    return f"; it has {', '.join(found)}" if found else ""


# --- from a target's left side to a module ---------------------------------------------------------------


def _module(name: str, root: Path) -> ModuleType:
    # Files may be newer than what the import system remembers of their directories.
    importlib.invalidate_caches()
    if "/" in name or os.sep in name or name.endswith(".py"):
        return _module_of_file(Path(os.path.abspath(root / name)), root)
    return importlib.import_module(name)


def _module_of_file(file: Path, root: Path) -> ModuleType:
    """Import a file under the name that the project's own imports use, so that its classes exist once.

    Failing that, under a private name: no import finds it, or the package around it cannot be imported
    without being installed, which a template's `__init__.py` often cannot.
    """
    if not file.is_file():
        raise Unfit(f"there is no file {file}.")
    if file.suffix != ".py":
        raise Unfit(f"{file.name} is not a Python file.")
    package_error: Exception | None = None
    for name in _dotted_names(file):
        try:
            spec = find_spec(name)  # imports the packages above, hence the user's code
        except Exception as error:
            package_error = error
            continue
        if spec is not None and spec.origin is not None and _same_file(spec.origin, file):
            return importlib.import_module(name)
    try:
        return _module_by_path(file, root)
    except ImportError:
        if package_error is None:
            raise
        # A relative import then fails only because the package did: show that cause instead.
        raise package_error from None


def _dotted_names(file: Path) -> Iterator[str]:
    """Names that `import` may know this file by, likeliest first.

    The import root of a file is the nearest directory above it that is no package itself (in `src/agent/x.py`
    it is `src`); it only counts if Python would look for the first part of the name there.
    """
    for base in sorted(file.parents, key=lambda directory: (directory / "__init__.py").exists()):
        parts = file.relative_to(base).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts and all(part.isidentifier() for part in parts) and _is_home(base, parts):
            yield ".".join(parts)


def _is_home(base: Path, parts: tuple[str, ...]) -> bool:
    """Whether the package `parts[0]` is the one in `base`; checked first, as a wrong one must not be run."""
    if len(parts) == 1:
        return True
    try:
        spec = find_spec(parts[0])
    except (ImportError, ValueError):
        return False
    places = spec.submodule_search_locations if spec is not None else None
    return any(_same_file(place, base / parts[0]) for place in places or ())


def _same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _module_by_path(file: Path, root: Path) -> ModuleType:
    """Run a file as a module of its own, in sys.modules: dataclasses, pickle and type hints look there."""
    name = _private_name(file, root)
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise Unfit(f"{file.name} is not a Python file.")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _private_name(file: Path, root: Path) -> str:
    """A module name that survives a move of the project: checkpoints name their classes by it."""
    name = (
        f"graphwire_graph_{_digest(os.path.relpath(file, root))}_{re.sub(r'[^0-9A-Za-z_]', '_', file.stem)}"
    )
    taken = sys.modules.get(name)
    if taken is None or _same_file(taken.__file__ or "", file):
        return name
    return f"{name}_{_digest(str(file))}"  # two projects in one process


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


# --- from the value to a graph or a factory --------------------------------------------------------------


def _without_own_persistence(graph: Pregel[Any, Any, Any, Any]) -> Pregel[Any, Any, Any, Any]:
    if isinstance(graph.checkpointer, BaseCheckpointSaver):
        raise Unfit("it is compiled with its own checkpointer; the server provides one: remove it.")
    if graph.store is not None:
        raise Unfit("it is compiled with its own store; the server provides one: remove it.")
    return graph


def _factory(value: Any) -> Callable[..., Any]:
    wanted = "name a StateGraph, a compiled graph, or a function that returns one"
    if inspect.isclass(value):
        raise Unfit(f"it is the class {value.__name__}; {wanted}.")
    if isinstance(value, ContextDecorator | AsyncContextDecorator):
        raise Unfit("it is a context manager already made; name the function, without calling it.")
    if isinstance(value, Runnable) or not callable(value):
        raise Unfit(f"it is a {type(value).__name__}, not a graph; {wanted}.")
    factory: Callable[..., Any] = value
    return factory


def _arguments(factory: Callable[..., Any]) -> tuple[Argument, ...]:
    """Which parameter gets what: one gets the config unless annotated ServerRuntime; two are one of each."""
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = [item for item in _signature(factory).parameters.values() if item.kind not in starred]
    arguments = tuple(_argument(item) for item in parameters)
    if len(arguments) > 2:
        raise Unfit(f"a factory takes a config and a ServerRuntime at most, this takes {len(arguments)}.")
    if len(arguments) == 2 and not _is_pair(parameters, arguments):
        raise Unfit("of a factory's two parameters annotate one RunnableConfig, the other ServerRuntime.")
    return arguments


def _signature(factory: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(factory, eval_str=True)
    except Exception:
        # Annotations may name what is imported for type checkers only: they are then matched as text.
        return inspect.signature(factory)


def _argument(parameter: inspect.Parameter) -> Argument:
    keyword = parameter.name if parameter.kind is inspect.Parameter.KEYWORD_ONLY else None
    if not _is_runtime(parameter.annotation):
        return Argument("config", keyword)
    return Argument("runtime", keyword, _context_schema(parameter.annotation))


def _is_pair(parameters: list[inspect.Parameter], arguments: tuple[Argument, ...]) -> bool:
    config = [item for item, argument in zip(parameters, arguments, strict=True) if argument.gets == "config"]
    return len(config) == 1 and _is_config(config[0].annotation)


def _is_runtime(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return re.search(r"\bServerRuntime\b", annotation) is not None
    return _names_runtime(annotation) or any(map(_is_runtime, get_args(annotation)))


def _context_schema(annotation: Any) -> Any:
    """The X of `ServerRuntime[X]`, also inside `ServerRuntime[X] | None`; None without one."""
    if _names_runtime(annotation):
        return next(iter(get_args(annotation)), None)
    return next(filter(None, map(_context_schema, get_args(annotation))), None)


def _names_runtime(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return origin is ServerRuntime or (isinstance(origin, type) and issubclass(origin, _ServerRuntimeBase))


def _is_config(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return re.search(r"\b(RunnableConfig|[dD]ict|Mapping)\b", annotation) is not None
    accepted = (inspect.Parameter.empty, Any, RunnableConfig, dict, Mapping)
    return (get_origin(annotation) or annotation) in accepted or any(map(_is_config, get_args(annotation)))
