"""A graph opened from the catalog is ready to run, and the author's own object is left as it was."""

import asyncio
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel
from langgraph.store.memory import InMemoryStore

from server.errors import NotAGraph, NotFound
from server.graph.catalog import Catalog
from server.graph.loader import load_graph
from server.models import GraphSpec

REPOSITORY = Path(__file__).resolve().parents[2]
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}

PRELUDE = """
import contextlib, dataclasses, functools, operator, typing
from typing import Annotated, TypedDict
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import ServerRuntime

log = []

class State(TypedDict, total=False):
    words: Annotated[list, operator.add]

def build(word="hi"):
    return StateGraph(State).add_node("say", lambda state: {"words": [word]}).add_edge(START, "say")
"""


class Opened:
    """A catalog of one graph written as code, its module's names within reach."""

    def __init__(self, root: Path, code: str, graph_id: str = "agent") -> None:
        (root / "my-graph.py").write_text(PRELUDE + code, encoding="utf-8")
        self.source = load_graph(GraphSpec(graph_id, "./my-graph.py:graph", "Says hi."), root)
        self.store = InMemoryStore()
        self.catalog = Catalog([self.source], self.store)

    @property
    def names(self) -> dict[str, Any]:
        names: dict[str, Any] = inspect.unwrap(self.source.target).__globals__
        return names

    async def words(self, saver: InMemorySaver | None = None, **how: Any) -> list[str]:
        async with self.catalog.open("agent", THREAD, checkpointer=saver, **how) as graph:
            result = await graph.ainvoke({"words": []}, THREAD)
        words: list[str] = result["words"]
        return words


COMPILED = "graph = build().compile()"


async def test_a_compiled_graph_runs_with_the_checkpointer_it_is_opened_with(tmp_path: Path) -> None:
    opened, saver = Opened(tmp_path, COMPILED), InMemorySaver()
    assert await opened.words(saver) == ["hi"]
    assert await opened.words(saver) == ["hi", "hi"]


async def test_the_authors_graph_stays_as_it_was(tmp_path: Path) -> None:
    opened = Opened(tmp_path, COMPILED)
    before = dict(vars(opened.source.target))
    await opened.words(InMemorySaver())
    assert vars(opened.source.target) == before
    assert (opened.source.target.checkpointer, opened.source.target.store) == (None, None)


async def test_two_uses_at_once_keep_their_own_checkpointers(tmp_path: Path) -> None:
    catalog = Opened(tmp_path, COMPILED).catalog
    one, two = InMemorySaver(), InMemorySaver()
    async with (
        catalog.open("agent", THREAD, checkpointer=one) as first,
        catalog.open("agent", THREAD, checkpointer=two) as second,
    ):
        assert (first.checkpointer, second.checkpointer) == (one, two)


async def test_a_checkpointer_switched_off_by_the_author_is_given_all_the_same(tmp_path: Path) -> None:
    opened, saver = Opened(tmp_path, "graph = build().compile(checkpointer=False)"), InMemorySaver()
    async with opened.catalog.open("agent", THREAD, checkpointer=saver) as graph:
        assert graph.checkpointer is saver


async def test_the_run_is_named_after_the_graph_id_and_uses_the_servers_store(tmp_path: Path) -> None:
    opened = Opened(tmp_path, 'graph = build().compile(name="Joker")')
    async with opened.catalog.open("agent", THREAD, checkpointer=None) as graph:
        assert (graph.get_name(), graph.store) == ("agent", opened.store)


async def test_a_subgraph_stays_the_authors(tmp_path: Path) -> None:
    code = """
inner = build("in").compile(name="Inner")
graph = StateGraph(State).add_node("sub", inner).add_edge(START, "sub").compile()
"""
    opened = Opened(tmp_path, code)
    async with opened.catalog.open("agent", THREAD, checkpointer=InMemorySaver()) as graph:
        [(_, inner)] = graph.get_subgraphs()
        [(_, original)] = opened.source.target.get_subgraphs()
        assert inner is original
        assert isinstance(original, Pregel)
        assert (await graph.ainvoke({"words": []}, THREAD))["words"] == ["in"]
    assert (original.name, original.checkpointer, original.store) == ("Inner", None, None)


# --- factories -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "def graph(): return build().compile()",
        "async def graph(): return build().compile()",
        "graph = lambda: build()",
        "def graph(config, /): return build()",
        "def graph(*, config: RunnableConfig): return build()",
        "def graph(r: ServerRuntime, c: RunnableConfig): return build()",
        "def graph(): return build().compile(checkpointer=InMemorySaver(), store=InMemoryStore())",
        "@contextlib.contextmanager\ndef graph(): yield build()",
        "@contextlib.asynccontextmanager\nasync def graph(config): yield build().compile()",
        "def make(word, config): return build(word)\ngraph = functools.partial(make, 'hi')",
        "class Maker:\n  async def __call__(self): return build()\ngraph = Maker()",
        "graph = build()",
        "@entrypoint()\ndef graph(value: dict) -> dict: return {'words': ['hi']}",
    ],
)
async def test_every_accepted_form_runs(tmp_path: Path, code: str) -> None:
    assert await Opened(tmp_path, code).words(InMemorySaver()) == ["hi"]


async def test_persistence_that_a_factory_chose_is_replaced(tmp_path: Path) -> None:
    code = "def graph(): return build().compile(checkpointer=InMemorySaver(), store=InMemoryStore())"
    opened, saver = Opened(tmp_path, code), InMemorySaver()
    async with opened.catalog.open("agent", THREAD, checkpointer=saver) as graph:
        assert (graph.checkpointer, graph.store, graph.name) == (saver, opened.store, "agent")


async def test_a_graph_that_a_factory_keeps_is_not_changed(tmp_path: Path) -> None:
    opened = Opened(tmp_path, "kept = build().compile()\ndef graph(): return kept")
    await opened.words(InMemorySaver())
    kept = opened.names["kept"]
    assert (kept.checkpointer, kept.store, kept.name) == (None, None, "LangGraph")


async def test_a_factory_is_called_at_each_use(tmp_path: Path) -> None:
    opened = Opened(tmp_path, "def graph():\n  log.append(1)\n  return build()")
    assert opened.names["log"] == []
    await opened.words()
    await opened.words()
    assert opened.names["log"] == [1, 1]


SEES_CONFIG = "def graph(config):\n  log.append(config)\n  return build()"


async def test_a_factory_for_a_run_is_told_so_in_its_config(tmp_path: Path) -> None:
    opened = Opened(tmp_path, SEES_CONFIG)
    await opened.words()
    assert opened.names["log"] == [
        {
            "tags": [],
            "metadata": {},
            "callbacks": None,
            "configurable": {"thread_id": "t", "__is_for_execution__": True},
        }
    ]
    assert THREAD == {"configurable": {"thread_id": "t"}}


async def test_a_factory_for_a_read_is_not_told_of_execution(tmp_path: Path) -> None:
    opened = Opened(tmp_path, SEES_CONFIG)
    await opened.words(access="threads.read")
    assert opened.names["log"][0]["configurable"] == {"thread_id": "t"}


SEES_RUNTIME = "def graph(runtime: ServerRuntime):\n  log.append(runtime)\n  return build()"


async def test_the_runtime_of_a_run_has_user_store_and_context(tmp_path: Path) -> None:
    opened, user = Opened(tmp_path, SEES_RUNTIME), SimpleNamespace(identity="ann")
    await opened.words(user=user, context={"lang": "en"})
    [runtime] = opened.names["log"]
    assert (runtime.access_context, runtime.ensure_user(), runtime.store) == (
        "threads.create_run", user, opened.store,
    )  # fmt: skip
    assert runtime.execution_runtime.context == {"lang": "en"}


@pytest.mark.parametrize("access", ["threads.read", "threads.update", "assistants.read"])
async def test_the_runtime_of_anything_else_has_no_execution_part(tmp_path: Path, access: str) -> None:
    opened = Opened(tmp_path, SEES_RUNTIME)
    await opened.words(access=access, context={"lang": "en"})
    [runtime] = opened.names["log"]
    assert (runtime.access_context, runtime.execution_runtime, runtime.user) == (access, None, None)


async def test_a_context_becomes_the_class_that_the_factory_asks_for(tmp_path: Path) -> None:
    code = """
@dataclasses.dataclass
class Ctx:
    lang: str
def graph(runtime: ServerRuntime[Ctx]):
  log.append(runtime.execution_runtime.context.lang)
  return build()
"""
    opened = Opened(tmp_path, code)
    await opened.words(context={"lang": "en"})
    assert opened.names["log"] == ["en"]


@pytest.mark.parametrize(
    "code",
    [
        "def graph(): return None",
        "async def graph(): return 'text'",
        "def graph(): yield build()",
        "async def graph(): yield build()",
        "@contextlib.contextmanager\ndef graph(): yield 5",
    ],
)
async def test_a_factory_that_makes_no_graph_fails_at_use(tmp_path: Path, code: str) -> None:
    with pytest.raises(NotAGraph, match='factory of graph "agent"'):
        await Opened(tmp_path, code).words()


async def test_what_a_factory_raises_reaches_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such user"):
        await Opened(tmp_path, "def graph(): raise ValueError('no such user')").words()


MANAGED = """
@contextlib.asynccontextmanager
async def graph():
    log.append("in")
    try:
        yield build()
    finally:
        log.append("out")
"""


async def test_a_context_manager_is_left_when_the_use_ends(tmp_path: Path) -> None:
    opened = Opened(tmp_path, MANAGED)
    async with opened.catalog.open("agent", THREAD, checkpointer=None):
        assert opened.names["log"] == ["in"]
    assert opened.names["log"] == ["in", "out"]


async def test_a_context_manager_is_left_when_the_use_is_cancelled(tmp_path: Path) -> None:
    opened, inside = Opened(tmp_path, MANAGED), asyncio.Event()

    async def use() -> None:
        async with opened.catalog.open("agent", THREAD, checkpointer=None):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert opened.names["log"] == ["in", "out"]


@pytest.mark.parametrize("failure", [RuntimeError, asyncio.CancelledError])
async def test_a_context_manager_cannot_swallow_how_a_run_ended(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    code = """
@contextlib.asynccontextmanager
async def graph():
    with contextlib.suppress(BaseException):
        yield build()
"""
    opened = Opened(tmp_path, code)
    with pytest.raises(failure):
        async with opened.catalog.open("agent", THREAD, checkpointer=None):
            raise failure


# --- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ('graph = build().compile(name="Joker")', "Joker"),
        ("graph = build().compile()", "agent"),
        ("graph = build()", "agent"),
        ("def graph(): return build()", "agent"),
    ],
)
def test_the_name_is_the_authors_else_the_graph_id(tmp_path: Path, code: str, name: str) -> None:
    assert Opened(tmp_path, code).catalog.name("agent") == name


def test_the_catalog_lists_what_it_holds(tmp_path: Path) -> None:
    catalog = Opened(tmp_path, COMPILED).catalog
    assert catalog.ids == ("agent",)
    assert ("agent" in catalog, "other" in catalog) == (True, False)
    assert catalog.description("agent") == "Says hi."


def test_an_unknown_graph_is_not_found(tmp_path: Path) -> None:
    catalog = Opened(tmp_path, COMPILED).catalog
    with pytest.raises(NotFound, match='no graph "other"'):
        catalog.open("other", THREAD, checkpointer=None)


# --- checkpoints under LANGGRAPH_STRICT_MSGPACK ----------------------------------------------------------

STRICT = """
import asyncio, sys
from pathlib import Path
from langgraph.checkpoint.memory import InMemorySaver
from server.graph.catalog import Catalog
from server.graph.loader import load_graph
from server.models import GraphSpec

async def main():
    source = load_graph(GraphSpec("agent", "./my-graph.py:graph"), Path(sys.argv[1]))
    thread = {"configurable": {"thread_id": "t"}}
    async with Catalog([source], None).open("agent", thread, checkpointer=InMemorySaver()) as graph:
        await graph.ainvoke({}, thread)
        print(type((await graph.aget_state(thread)).values["found"]).__name__)

asyncio.run(main())
"""

FINDER = """
from pydantic import BaseModel
from typing import TypedDict
from langgraph.graph import START, StateGraph

class Found(BaseModel):
    where: str

class State(TypedDict, total=False):
    found: Found

def find(state):
    return {"found": Found(where="here")}

inner = StateGraph(State).add_node("find", find).add_edge(START, "find")
outer = StateGraph(State).add_node("sub", inner.compile().with_config(tags=["x"])).add_edge(START, "sub")
"""


@pytest.mark.parametrize(
    "code",
    [
        "graph = inner.compile()",
        'graph = inner.compile().with_config(tags=["x"])',
        'graph = outer.compile().with_config(tags=["x"])',
        'def graph(): return inner.compile().with_config(tags=["x"])',
    ],
)
def test_classes_of_the_state_come_back_from_a_strict_checkpoint(tmp_path: Path, code: str) -> None:
    (tmp_path / "my-graph.py").write_text(FINDER + code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", STRICT, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Found"
