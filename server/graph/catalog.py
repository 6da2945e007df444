"""graph id → a graph ready for one use: checkpointer, store and name put in, the user's own object untouched.

Opening a compiled graph is on the hot path of every run: one shallow copy, about two microseconds.
"""

import copy
import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeAlias, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext, _ExecutionRuntime, _ReadRuntime
from pydantic import BaseModel

from ..errors import NotAGraph, NotFound
from .loader import Argument, GraphSource

Graph: TypeAlias = Pregel[Any, Any, Any, Any]
Saver: TypeAlias = BaseCheckpointSaver[Any]

EXECUTION = "threads.create_run"
UNNAMED = "LangGraph"  # what langgraph calls a graph whose author gave no name


class Catalog:
    """The graphs of one project, by id, in the order of langgraph.json."""

    def __init__(self, sources: Sequence[GraphSource], store: BaseStore | None) -> None:
        self._store = store
        self._sources = {source.spec.graph_id: source for source in sources}
        self._graphs = {
            graph_id: _prepared(source.target, graph_id, store)
            for graph_id, source in self._sources.items()
            if source.kind == "graph"
        }

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._sources)

    def __contains__(self, graph_id: object) -> bool:
        return graph_id in self._sources

    def name(self, graph_id: str) -> str:
        """The name its author gave the compiled graph, else the graph id; NotFound."""
        source = self._source(graph_id)
        own = source.target.name if source.kind == "graph" else UNNAMED
        return own if own and own != UNNAMED else graph_id

    def description(self, graph_id: str) -> str | None:
        """What langgraph.json says about the graph; NotFound."""
        return self._source(graph_id).spec.description

    def is_fixed(self, graph_id: str) -> bool:
        """Whether every use opens the same graph: no factory makes it anew; NotFound."""
        return self._source(graph_id).kind == "graph"

    def open(
        self,
        graph_id: str,
        config: RunnableConfig,
        *,
        checkpointer: Saver | None,
        access: str = EXECUTION,
        context: Any = None,
        user: Any = None,
    ) -> AbstractAsyncContextManager[Graph]:
        """A copy of the graph for one use, on the running loop (contract/resources.md 13, runs.md 4).

        A factory is called, and its context manager left when the block ends; it sees `config`, `context` and
        `user`, and `access` as its runtime's `access_context`. Raises NotFound; on entering NotAGraph if the
        factory makes something else, and whatever the factory raises.
        """
        source = self._source(graph_id)
        if source.kind == "graph":
            return nullcontext(_with_checkpointer(self._graphs[graph_id], checkpointer))
        return self._made(source, _Use(config, access, context, user, self._store), checkpointer)

    @staticmethod
    def on(graph: Graph, checkpointer: Saver) -> Graph:
        """The same graph on another checkpointer."""
        return _with_checkpointer(graph, checkpointer)

    def _source(self, graph_id: str) -> GraphSource:
        source = self._sources.get(graph_id)
        if source is None:
            raise NotFound(f'There is no graph "{graph_id}".')
        return source

    @asynccontextmanager
    async def _made(
        self, source: GraphSource, use: "_Use", checkpointer: Saver | None
    ) -> AsyncIterator[Graph]:
        """A graph from its factory, for as long as the factory's own context manager is open."""
        graph_id = source.spec.graph_id
        failure: BaseException | None = None
        async with AsyncExitStack() as stack:
            made = await _entered(use.call(source), stack)
            graph = _prepared(_graph(made, graph_id), graph_id, self._store)
            try:
                yield _with_checkpointer(graph, checkpointer)
            except BaseException as error:
                failure = error
                raise
        if failure is not None:
            # The factory's context manager swallowed it, but a failed or cancelled run has not succeeded.
            raise failure


@dataclass(frozen=True, slots=True)
class _Use:
    """Why a factory is called, and what it may know."""

    config: RunnableConfig
    access: str
    context: Any
    user: Any
    store: BaseStore | None

    def call(self, source: GraphSource) -> Any:
        """Call the factory with what its parameters asked for."""
        values = [(self._value(argument), argument.keyword) for argument in source.arguments]
        positional = [value for value, keyword in values if keyword is None]
        return source.target(*positional, **{keyword: value for value, keyword in values if keyword})

    def _value(self, argument: Argument) -> Any:
        return self._config() if argument.gets == "config" else self._runtime(argument.context_schema)

    def _config(self) -> RunnableConfig:
        """A copy of the config, with every key that factories read without asking."""
        configurable = dict(self.config.get("configurable") or {})
        if self.access == EXECUTION:
            configurable["__is_for_execution__"] = True
        elif self.user is not None:  # of a run it stands there
            told = {"langgraph_auth_user": self.user, "langgraph_auth_user_id": self.user["identity"]}
            configurable |= {**told, "langgraph_auth_permissions": list(self.user.get("permissions") or ())}
        defaults: RunnableConfig = {"tags": [], "metadata": {}, "callbacks": None}
        return cast(RunnableConfig, {**defaults, **self.config, "configurable": configurable})

    def _runtime(self, context_schema: Any) -> Any:
        """The SDK's ServerRuntime; only one for execution carries the run's context."""
        purpose = cast(AccessContext, self.access)
        store = cast(BaseStore, self.store)  # None only where a test serves graphs without a store
        if self.access != EXECUTION:
            return _ReadRuntime(access_context=purpose, user=self.user, store=store)
        context = _context(context_schema, self.context)
        return _ExecutionRuntime(access_context=purpose, user=self.user, store=store, context=context)


async def _entered(value: Any, stack: AsyncExitStack) -> Any:
    """What a factory's result stands for: a coroutine is awaited, a context manager entered."""
    if inspect.isawaitable(value):
        value = await value
    if hasattr(type(value), "__aenter__"):
        return await stack.enter_async_context(value)
    if hasattr(type(value), "__enter__"):
        return stack.enter_context(value)
    return value


def _graph(value: Any, graph_id: str) -> Graph:
    if isinstance(value, StateGraph):
        return value.compile()
    if isinstance(value, Pregel):
        return value
    raise NotAGraph(f'The factory of graph "{graph_id}" made a {type(value).__name__}, not a graph.')


def _context(schema: Any, context: Any) -> Any:
    """A context of the class in `ServerRuntime[…]`, by langgraph's own rule for `context_schema`."""
    makes_objects = isinstance(schema, type) and (issubclass(schema, BaseModel) or is_dataclass(schema))
    return schema(**context) if makes_objects and isinstance(context, Mapping) else context


def _prepared(graph: Graph, graph_id: str, store: BaseStore | None) -> Graph:
    """A copy named like the run it will make, with the server's store; its subgraphs stay the author's.

    Not `Pregel.copy`, which calls the constructor and loses what that does not take: see _state_types.
    """
    prepared = copy.copy(graph)
    prepared.name = graph_id
    prepared.store = store
    prepared._serde_allowlist = _state_types(graph)
    return prepared


def _with_checkpointer(graph: Graph, checkpointer: Saver | None) -> Graph:
    ready = copy.copy(graph)
    ready.checkpointer = checkpointer
    return ready


def _state_types(graph: Graph) -> set[tuple[str, ...]] | None:
    """The classes that checkpoints of this graph and its subgraphs may bring back to life.

    `compile` collects them from the state when LANGGRAPH_STRICT_MSGPACK is on, but `with_config` forgets
    them, and so does every `create_agent`: the state's own classes then come back as plain dicts. So they
    are collected again where they are missing. None when checkpoints are not strict.
    """
    known = graph._serde_allowlist
    family = [graph, *(subgraph for _, subgraph in graph.get_subgraphs(recurse=True))]
    for member in family:
        if isinstance(member, CompiledStateGraph) and member._serde_allowlist is None:
            found = member.builder.compile()._serde_allowlist
            if found is None:
                return known
            known = found | (known or set())
    return known
