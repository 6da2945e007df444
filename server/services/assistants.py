"""Rules of assistants: graphs with settings under names and ids, their versions (contract/resources.md 3)."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from ..clock import new_id, now
from ..errors import Conflict, Contradiction, Invalid, NotFound
from ..models import METADATA_BYTES_MAX, Assistant, AssistantChange, AssistantQuery, Caller, Json, Page
from ..rules.access import Scope
from ..storage import assistants as statements
from ..storage import crons
from ..storage.database import Database, Tx
from ..streaming.encode import encode
from .authorization import OPEN, Authorization, metadata_in
from .resolution import automatic, id_of, missing_assistant, resolve
from .run_plan import BOTH
from .threads import Threads

UNTITLED = "Untitled"
# The server writes these itself; what a client says of them is dropped (contract/resources.md 3.3).
_OWN = ("assistant_id", "thread_id", "run_id")
_THREADS_AT_ONCE = 64  # as many deletions as share one commit


def changed(assistant: Assistant, change: AssistantChange) -> Assistant:
    """The assistant after a change; itself if the change says nothing. Raises Contradiction, Invalid.

    `metadata` is merged key by key, everything else replaced. Of `context` and `config.configurable` one is
    given and the other mirrors it (contract/resources.md 3.1).
    """
    if change == AssistantChange():
        return assistant
    config, context = _mirrored(assistant, change.config, change.context)
    metadata = {**assistant.metadata, **_user_metadata(change.metadata or {})}
    if len(encode(metadata)) > METADATA_BYTES_MAX:
        raise Invalid(f"metadata: must be at most {METADATA_BYTES_MAX} bytes of JSON, with what is there")
    return replace(
        assistant,
        graph_id=assistant.graph_id if change.graph_id is None else change.graph_id,
        name=assistant.name if change.name is None else change.name or UNTITLED,
        description=assistant.description if change.description is None else change.description,
        config=config,
        context=context,
        metadata=metadata,
    )


def _mirrored(assistant: Assistant, config: Json | None, context: Json | None) -> tuple[Json, Json]:
    """(config, context) after a change of one or both; empty settings beside others count as not given."""
    if config is None and context is None:
        return assistant.config, assistant.context
    said = (config or {}).get("configurable")
    if said and context:
        raise Contradiction(BOTH)
    settings = dict(context or said or {})
    kept = {key: value for key, value in assistant.config.items() if key != "configurable"}
    found = kept if config is None else config
    return ({**found, "configurable": settings} if settings else found), settings


def _user_metadata(metadata: Json) -> Json:
    return {key: value for key, value in metadata.items() if key not in _OWN}


class Assistants:
    """The assistants of this server."""

    def __init__(
        self,
        database: Database,
        threads: Threads,
        graph_ids: Sequence[str],
        authorization: Authorization = OPEN,
    ) -> None:
        self._database = database
        self._threads = threads
        self._graph_ids = graph_ids
        self._authorization = authorization

    async def add_automatic(self, graphs: Sequence[tuple[str, str, str | None]]) -> None:
        """At start: one assistant a graph, (graph id, name, description), left alone where it exists."""
        found = [automatic(graph_id, name, description) for graph_id, name, description in graphs]
        await self._database.write(lambda tx: statements.add_missing(tx, found))

    async def create(
        self, caller: Caller, assistant_id: str | None, said: AssistantChange, if_exists: str
    ) -> Assistant:
        """Make an assistant. An id that exists: Conflict, or with `do_nothing` the assistant as it is.

        Raises NotFound for the graph, Contradiction for two kinds of settings.
        """
        graph_id = said.graph_id or ""
        self._check_graph(graph_id)
        at, new = now(), assistant_id or new_id()
        said, scope = await self._asked(caller, "create", new, said)
        empty = Assistant(new, graph_id, UNTITLED, None, {}, {}, {}, 1, at, at, caller.identity)
        assistant = changed(empty, said)

        def work(tx: Tx) -> Assistant:
            if assistant_id is not None and statements.get(tx, assistant_id):
                if if_exists == "do_nothing" and (found := statements.get(tx, assistant_id, scope)):
                    return found
                raise Conflict(f"Assistant {assistant_id} already exists")
            statements.add(tx, assistant)
            return assistant

        return await self._database.write(work)

    async def get(self, caller: Caller, assistant_id: str) -> Assistant:
        """One assistant, by id or by its graph's name. Raises Invalid or NotFound."""
        scope = await self._reading(caller, assistant_id)
        return await self._database.read(lambda tx: self._get(tx, assistant_id, scope))

    async def resolved(self, caller: Caller, assistant_id: str) -> Assistant:
        """The assistant to use a graph with, as a run would. Raises Invalid or NotFound."""
        scope = await self._reading(caller, assistant_id)
        return await self._database.read(lambda tx: resolve(tx, assistant_id, self._graph_ids, scope))

    async def patch(self, caller: Caller, assistant_id: str, change: AssistantChange) -> Assistant:
        """Change an assistant, which makes a version; a change that says nothing makes none.

        Raises Invalid, Contradiction, or NotFound for the assistant or the graph.
        """
        if change.graph_id is not None:
            self._check_graph(change.graph_id)
        change, scope = await self._asked(caller, "update", id_of(assistant_id, self._graph_ids), change)

        def work(tx: Tx) -> Assistant:
            before = self._get(tx, assistant_id, scope, statements.get_to_change)
            after = changed(before, change)
            if after is before:
                return before
            version = statements.last_version(tx, before.assistant_id) + 1
            after = replace(after, version=version, updated_at=now())
            statements.replace(tx, after)
            statements.add_version(tx, after)
            return after

        return await self._database.write(work)

    async def delete(self, caller: Caller, assistant_id: str, *, with_threads: bool) -> None:
        """Delete an assistant with its versions and crons; on wish first the threads that last ran with it.

        Runs that are under way go on, except on deleted threads. Raises Invalid or NotFound.
        """
        named = id_of(assistant_id, self._graph_ids)
        scope = await self._authorization.ask(caller, "assistants", "delete", {"assistant_id": named})
        stopping = {"thread_id": None, "action": "interrupt", "metadata": {"assistant_id": named}}
        await self._authorization.ask(caller, "threads", "update", stopping)
        await self._database.read(lambda tx: self._get(tx, assistant_id, scope))
        if with_threads:
            await self._delete_threads(caller, named)

        def work(tx: Tx) -> None:
            self._get(tx, assistant_id, scope, statements.get_to_change)
            statements.remove(tx, named)
            crons.remove_of_assistant(tx, named)  # now that no more can come

        await self._database.write(work)

    async def search(self, caller: Caller, query: AssistantQuery, page: Page) -> tuple[list[Assistant], int]:
        """A page of the assistants that a query describes, and how many there are in all.

        Raises Invalid for a filter beyond the limits, NotFound for the graph.
        """
        if query.graph_id is not None:
            self._check_graph(query.graph_id)
        query, scope = await self._searching(caller, query, page.limit, page.offset)
        return await self._database.read(lambda tx: statements.search(tx, query, page, scope))

    async def count(self, caller: Caller, query: AssistantQuery) -> int:
        """How many assistants a query describes. Raises like `search`."""
        if query.graph_id is not None:
            self._check_graph(query.graph_id)
        query, scope = await self._searching(caller, query, 0, 0)
        return await self._database.read(lambda tx: statements.count(tx, query, scope))

    async def versions(
        self, caller: Caller, assistant_id: str, metadata: Json, page: Page
    ) -> list[Assistant]:
        """The versions of an assistant, newest first. Raises Invalid or NotFound."""

        scope = await self._reading(caller, assistant_id)

        def work(tx: Tx) -> list[Assistant]:
            found = self._get(tx, assistant_id, scope)
            return statements.page_of_versions(tx, found.assistant_id, metadata, page)

        return await self._database.read(work)

    async def set_latest(self, caller: Caller, assistant_id: str, version: int) -> Assistant:
        """Make the assistant what it was as of a version, graph and context included.

        Raises Invalid, or NotFound for the assistant, the version or its graph.
        """

        value = {"assistant_id": id_of(assistant_id, self._graph_ids), "version": version}
        scope = await self._authorization.ask(caller, "assistants", "update", value)

        def work(tx: Tx) -> Assistant:
            now_is = self._get(tx, assistant_id, scope, statements.get_to_change)
            was = statements.get_version(tx, now_is.assistant_id, version)
            if was is None:
                raise NotFound(f"Version {version} of assistant {assistant_id} not found")
            self._check_graph(was.graph_id)
            again = replace(was, created_at=now_is.created_at, updated_at=now(), owner=now_is.owner)
            statements.replace(tx, again)
            return again

        return await self._database.write(work)

    async def _delete_threads(self, caller: Caller, assistant_id: str) -> None:
        """In small transactions: each stops its runs, and the writer serves others in between."""
        value = {"thread_id": None, "metadata": {"assistant_id": assistant_id}}
        scope = await self._authorization.ask(caller, "threads", "delete", value)
        found = await self._threads_of(assistant_id, "", scope)
        while found:
            await asyncio.gather(*(self._delete_thread(caller, thread_id) for thread_id in found))
            found = await self._threads_of(assistant_id, found[-1], scope)

    async def _threads_of(self, assistant_id: str, after: str, scope: Scope) -> list[str]:
        return await self._database.read(
            lambda tx: statements.threads_of(tx, assistant_id, after, _THREADS_AT_ONCE, scope)
        )

    async def _delete_thread(self, caller: Caller, thread_id: str) -> None:
        with suppress(NotFound):  # somebody else was faster
            await self._threads.delete(caller, thread_id)

    async def _reading(self, caller: Caller, assistant_id: str) -> Scope:
        value = {"assistant_id": id_of(assistant_id, self._graph_ids)}
        return await self._authorization.ask(caller, "assistants", "read", value)

    async def _searching(
        self, caller: Caller, query: AssistantQuery, limit: int, offset: int
    ) -> tuple[AssistantQuery, Scope]:
        value = {
            "graph_id": query.graph_id,
            "metadata": dict(query.metadata),
            "limit": limit,
            "offset": offset,
        }
        scope = await self._authorization.ask(caller, "assistants", "search", value)
        return replace(query, metadata=metadata_in(value)), scope

    async def _asked(
        self, caller: Caller, action: str, assistant_id: str, said: AssistantChange
    ) -> tuple[AssistantChange, Scope]:
        """What is to be stored, as the handler leaves it."""
        value = {
            "assistant_id": assistant_id,
            "graph_id": said.graph_id,
            "config": said.config,
            "context": said.context,
            "metadata": dict(said.metadata or {}),
            "name": said.name,
        }
        scope = await self._authorization.ask(caller, "assistants", action, value)
        told = metadata_in(value)
        return (said if told == (said.metadata or {}) else replace(said, metadata=told)), scope

    def _get(
        self,
        tx: Tx,
        assistant_id: str,
        scope: Scope,
        get: Callable[[Tx, str, Scope], Assistant | None] = statements.get,
    ) -> Assistant:
        """The assistant itself, whether or not its graph is served."""
        found = get(tx, id_of(assistant_id, self._graph_ids), scope)
        if found is None:
            raise missing_assistant(assistant_id)
        return found

    def _check_graph(self, graph_id: str) -> None:
        if graph_id not in self._graph_ids:
            names = ", ".join(self._graph_ids)
            raise NotFound(f"Graph '{graph_id}' not found. Expected one of: {names}")
