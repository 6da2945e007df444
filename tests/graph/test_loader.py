"""What may stand behind an entry of `graphs`, under which name it is imported, and how refusals read."""

import importlib
import pickle
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph.pregel import Pregel

from server.errors import GraphLoadError
from server.graph.loader import Argument, GraphSource, load_graph
from server.models import GraphSpec

PRELUDE = """
import contextlib, dataclasses, functools, typing
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import ServerRuntime
builder = StateGraph(dict)
builder.add_node("one", lambda state: {})
builder.add_edge(START, "one")
"""


@pytest.fixture(autouse=True)
def _import_state() -> Iterator[None]:
    """Give the process its import path and modules back."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(root: Path, name: str, code: str) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code, encoding="utf-8")
    return file


def load(root: Path, target: str = "./agent.py:graph") -> GraphSource:
    return load_graph(GraphSpec("agent", target), root)


def load_code(root: Path, code: str) -> GraphSource:
    write(root, "agent.py", PRELUDE + code)
    return load(root)


def refusal(root: Path, target: str = "./agent.py:graph") -> GraphLoadError:
    with pytest.raises(GraphLoadError) as caught:
        load(root, target)
    return caught.value


# --- kinds of object -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "graph = builder.compile()",
        "graph = builder",
        "graph = builder.compile(checkpointer=True)",
        "graph = builder.compile(checkpointer=False)",
        "graph = builder.compile().with_config(tags=['x'])",
        "@entrypoint()\ndef graph(value: int) -> int: return value",
    ],
)
def test_a_graph_is_loaded_compiled(tmp_path: Path, code: str) -> None:
    source = load_code(tmp_path, code)
    assert source.kind == "graph"
    assert isinstance(source.target, Pregel)


CONFIG, RUNTIME = Argument("config"), Argument("runtime")


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("def graph(): raise RuntimeError", ()),
        ("async def graph(): return builder", ()),
        ("graph = lambda: builder", ()),
        ("def graph(*args, **kwargs): return builder", ()),
        ("def graph(anything): return builder", (CONFIG,)),
        ("def graph(config: RunnableConfig): return builder", (CONFIG,)),
        ("def graph(config: dict): return builder", (CONFIG,)),
        ("def graph(config: RunnableConfig | None = None): return builder", (CONFIG,)),
        ("def graph(*, config): return builder", (Argument("config", "config"),)),
        ("def graph(config, /): return builder", (CONFIG,)),
        ("def graph(runtime: ServerRuntime): return builder", (RUNTIME,)),
        ("def graph(runtime: 'ServerRuntime'): return builder", (RUNTIME,)),
        ("def graph(runtime: 'ServerRuntime') -> 'Unknown': return builder", (RUNTIME,)),
        ("def graph(runtime: ServerRuntime[int]): return builder", (Argument("runtime", None, int),)),
        ("def graph(runtime: ServerRuntime | None = None): return builder", (RUNTIME,)),
        ("def graph(r: ServerRuntime[int] | None): return builder", (Argument("runtime", None, int),)),
        ("def graph(*, r: ServerRuntime): return builder", (Argument("runtime", "r"),)),
        ("def graph(c: RunnableConfig, r: ServerRuntime): return builder", (CONFIG, RUNTIME)),
        ("def graph(r: ServerRuntime, c: RunnableConfig): return builder", (RUNTIME, CONFIG)),
        ("def graph(r: ServerRuntime, c: dict[str, object]): return builder", (RUNTIME, CONFIG)),
        ("def graph(r: 'ServerRuntime', c: 'RunnableConfig') -> 'X': return builder", (RUNTIME, CONFIG)),
        ("@contextlib.contextmanager\ndef graph(config): yield builder", (CONFIG,)),
        ("@contextlib.asynccontextmanager\nasync def graph(r: ServerRuntime): yield builder", (RUNTIME,)),
        ("def graph(config): yield builder", (CONFIG,)),
        ("class Maker:\n  def __call__(self, r: ServerRuntime): return builder\ngraph = Maker()", (RUNTIME,)),
        ("def make(name, config): return builder\ngraph = functools.partial(make, 'x')", (CONFIG,)),
    ],
)
def test_a_factory_is_loaded_without_being_called(
    tmp_path: Path, code: str, arguments: tuple[Argument, ...]
) -> None:
    source = load_code(tmp_path, code)
    assert (source.kind, source.arguments) == ("factory", arguments)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("graph = None", "it is a NoneType, not a graph"),
        ("graph = 5", "it is a int, not a graph"),
        ("class graph: pass", "it is the class graph"),
        ("graph = RunnableLambda(lambda value: value)", "it is a RunnableLambda, not a graph"),
        ("graph = builder.compile(checkpointer=InMemorySaver())", "its own checkpointer"),
        ("graph = builder.compile(store=InMemoryStore())", "its own store"),
        (
            "@entrypoint(checkpointer=InMemorySaver())\ndef graph(value: int): return value",
            "own checkpointer",
        ),
        ("@contextlib.contextmanager\ndef make(): yield builder\ngraph = make()", "without calling it"),
        ("def graph(a, b, c): return builder", "this takes 3"),
        ("def graph(a, b): return builder", "annotate one RunnableConfig, the other ServerRuntime"),
        ("def graph(a: ServerRuntime, b: ServerRuntime): return builder", "annotate one RunnableConfig"),
        ("def graph(a: ServerRuntime, b: int): return builder", "annotate one RunnableConfig"),
        ("graph = StateGraph(dict)", "ValueError"),
        ("graph = min", "ValueError"),
    ],
)
def test_a_wrong_object_is_refused_with_graph_target_and_cause(tmp_path: Path, code: str, said: str) -> None:
    write(tmp_path, "agent.py", PRELUDE + code)
    message = refusal(tmp_path).message
    assert said in message
    assert 'Graph "agent" (./agent.py:graph)' in message


# --- importing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module' (agent.py, line 2)"),
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero (agent.py, line 3)"),
        ("def broken(:", "agent.py, line 2: invalid syntax"),
        ("import sys; sys.exit(4)", "sys.exit(4)"),
        ("graf = 1", 'has no variable "graph"'),
    ],
)
def test_a_module_that_fails_is_refused_with_the_place(tmp_path: Path, code: str, said: str) -> None:
    write(tmp_path, "agent.py", "\n" + code)
    assert said in refusal(tmp_path).message


def test_the_refusal_keeps_the_users_exception_as_its_cause(tmp_path: Path) -> None:
    write(tmp_path, "agent.py", "1 / 0")
    assert isinstance(refusal(tmp_path).__cause__, ZeroDivisionError)


def test_a_missing_variable_is_answered_with_the_graphs_there_are(tmp_path: Path) -> None:
    write(tmp_path, "agent.py", PRELUDE + "app = builder.compile()")
    assert "; it has builder, app" in refusal(tmp_path).message


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("./none.py:graph", "there is no file"),
        ("./notes.txt:graph", "notes.txt is not a Python file"),
        ("no.such.module:graph", "ModuleNotFoundError"),
    ],
)
def test_a_target_that_is_no_module_is_refused(tmp_path: Path, target: str, said: str) -> None:
    write(tmp_path, "notes.txt", "")
    assert said in refusal(tmp_path, target).message


def test_a_failed_module_can_be_repaired_and_loaded_again(tmp_path: Path) -> None:
    write(tmp_path, "agent.py", "1 / 0")
    refusal(tmp_path)
    assert load_code(tmp_path, "graph = builder  # now longer").kind == "graph"


def test_paths_count_from_the_root_not_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "project", "agent.py", PRELUDE + "graph = builder")
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path / "project").kind == "graph"


def test_a_dotted_module_is_found_on_the_import_path(tmp_path: Path) -> None:
    write(tmp_path, "dotted_pkg/agent.py", PRELUDE + "graph = builder")
    sys.path.insert(0, str(tmp_path))
    assert load(tmp_path, "dotted_pkg.agent:graph").kind == "graph"


def test_two_graphs_of_one_file_load_it_once(tmp_path: Path) -> None:
    write(tmp_path, "agent.py", PRELUDE + "a = lambda: builder\nb = lambda: builder")
    one, two = load(tmp_path, "./agent.py:a"), load(tmp_path, "./agent.py:b")
    assert one.target.__globals__ is two.target.__globals__


@pytest.mark.parametrize("package", [True, False])
def test_a_file_is_the_same_module_as_the_one_the_project_imports(tmp_path: Path, package: bool) -> None:
    write(tmp_path, "loader_pkg/agent.py", PRELUDE + "graph = builder.compile()")
    if package:
        write(tmp_path, "loader_pkg/__init__.py", "")
    sys.path.insert(0, str(tmp_path))
    source = load(tmp_path, "./loader_pkg/agent.py:graph")
    assert importlib.import_module("loader_pkg.agent").graph is source.target


def test_a_file_in_a_package_may_import_relatively(tmp_path: Path) -> None:
    write(tmp_path, "loader_pkg/__init__.py", "")
    write(tmp_path, "loader_pkg/parts.py", PRELUDE)
    write(tmp_path, "loader_pkg/agent.py", "from .parts import builder as graph")
    sys.path.insert(0, str(tmp_path))
    assert load(tmp_path, "./loader_pkg/agent.py:graph").kind == "graph"


def test_a_source_directory_is_not_part_of_the_name(tmp_path: Path) -> None:
    write(tmp_path, "src/loader_pkg/__init__.py", "")
    write(tmp_path, "src/loader_pkg/agent.py", PRELUDE + "def graph(): return builder")
    sys.path[:0] = [str(tmp_path), str(tmp_path / "src")]
    assert load(tmp_path, "./src/loader_pkg/agent.py:graph").target.__module__ == "loader_pkg.agent"


def test_a_file_named_like_an_installed_module_is_not_mistaken_for_it(tmp_path: Path) -> None:
    write(tmp_path, "json.py", PRELUDE + "graph = builder")
    sys.path.insert(0, str(tmp_path))
    assert load(tmp_path, "./json.py:graph").kind == "graph"


def test_a_directory_named_like_an_installed_package_is_not_mistaken_for_it(tmp_path: Path) -> None:
    write(tmp_path, "json/decoder.py", PRELUDE + "graph = builder")
    sys.path.insert(0, str(tmp_path))
    assert load(tmp_path, "./json/decoder.py:graph").kind == "graph"


def test_a_file_whose_package_cannot_be_imported_is_loaded_alone(tmp_path: Path) -> None:
    write(tmp_path, "loader_pkg/__init__.py", "import no_such_module")
    write(tmp_path, "loader_pkg/agent.py", PRELUDE + "graph = builder")
    sys.path.insert(0, str(tmp_path))
    assert load(tmp_path, "./loader_pkg/agent.py:graph").kind == "graph"


def test_a_broken_package_is_named_where_the_file_needs_it(tmp_path: Path) -> None:
    write(tmp_path, "loader_pkg/__init__.py", "import no_such_module")
    write(tmp_path, "loader_pkg/agent.py", "from .parts import graph")
    sys.path.insert(0, str(tmp_path))
    assert "No module named 'no_such_module'" in refusal(tmp_path, "./loader_pkg/agent.py:graph").message


STATE = "@dataclasses.dataclass\nclass State:\n    topic: str\ndef graph(): return builder"


def test_classes_of_a_file_that_no_import_finds_can_be_pickled_and_inspected(tmp_path: Path) -> None:
    write(tmp_path, "my-graphs/agent.py", "from __future__ import annotations\n" + PRELUDE + STATE)
    source = load(tmp_path, "./my-graphs/agent.py:graph")
    state = source.target.__globals__["State"]
    assert pickle.loads(pickle.dumps(state("ice"))) == state("ice")
    assert typing.get_type_hints(state) == {"topic": str}


def test_a_private_name_does_not_change_when_the_project_moves(tmp_path: Path) -> None:
    names = []
    for place in ("here", "there"):
        write(tmp_path / place, "my-graphs/agent.py", PRELUDE + "def graph(): return builder")
        names.append(load(tmp_path / place, "./my-graphs/agent.py:graph").target.__module__)
        del sys.modules[names[-1]]
    assert names[0] == names[1]


def test_two_projects_in_one_process_do_not_share_a_module(tmp_path: Path) -> None:
    sources = []
    for place in ("here", "there"):
        write(tmp_path / place, "my-graphs/agent.py", PRELUDE + "def graph(): return builder")
        sources.append(load(tmp_path / place, "./my-graphs/agent.py:graph"))
    assert sources[0].target is not sources[1].target
