"""Rules of assistants: graphs with settings under names and ids, their versions (contract/resources.md 3)."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID, uuid5

from ..clock import new_id, now
from ..errors import Conflict, Contradiction, Invalid, NotFound
from ..models import METADATA_BYTES_MAX, Assistant, AssistantChange, AssistantQuery, Caller, Json, Page
from ..storage import assistants as statements
from ..storage import crons
from ..storage.database import Database, Tx
from ..streaming.encode import encode
from .run_plan import BOTH
from .threads import Threads

UNTITLED = "Untitled"
# The namespace of the automatic assistants (contract/resources.md 3.1): one digit away from RFC 9562's.
_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
# The server writes these itself; what a client says of them is dropped (contract/resources.md 3.3).
_OWN = ("assistant_id", "thread_id", "run_id")
_THREADS_AT_ONCE = 64  # as many deletions as share one commit


def automatic_id(graph_id: str) -> str:
    """The id of the assistant that every graph has by itself; clients compute it too."""
    return str(uuid5(_NAMESPACE, graph_id))


def automatic(graph_id: str, name: str, description: str | None) -> Assistant:
    """The assistant that every graph has by itself, without settings."""
    at, made_by = now(), {"created_by": "system"}
    return Assistant(automatic_id(graph_id), graph_id, name, description, {}, {}, made_by, 1, at, at)


def resolve(tx: Tx, assistant_id: str, graph_ids: Sequence[str]) -> Assistant:
    """What a run of this assistant or graph uses. Raises Invalid or NotFound (contract/runs.md 18).

    A graph whose automatic assistant was deleted still runs under its name, without settings.
    """
    found = statements.get(tx, id_of(assistant_id, graph_ids))
    if found is None and assistant_id in graph_ids:
        return automatic(assistant_id, assistant_id, None)
    if found is None or found.graph_id not in graph_ids:
        raise _missing(assistant_id)
    return found


def id_of(assistant_id: str, graph_ids: Sequence[str]) -> str:
    """The id behind an id in any form or a graph's name. Raises Invalid."""
    if assistant_id in graph_ids:
        return automatic_id(assistant_id)
    try:
        return str(UUID(assistant_id))
    except ValueError:
        raise Invalid(_choices(assistant_id, graph_ids)) from None


def _choices(assistant_id: str, graph_ids: Sequence[str]) -> str:
    names = ", ".join(graph_ids)
    return (
        f"Invalid assistant: '{assistant_id}'. Must be either:\n"
        f"- A valid assistant UUID, or\n- One of the registered graphs: {names}"
    )


def _missing(assistant_id: str) -> NotFound:
    return NotFound(f"Assistant {assistant_id} not found.")


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

    def __init__(self, database: Database, threads: Threads, graph_ids: Sequence[str]) -> None:
        self._database = database
        self._threads = threads
        self._graph_ids = graph_ids

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
        at = now()
        empty = Assistant(assistant_id or new_id(), graph_id, UNTITLED, None, {}, {}, {}, 1, at, at)
        assistant = changed(empty, said)

        def work(tx: Tx) -> Assistant:
            if assistant_id is not None and (found := statements.get(tx, assistant_id)):
                if if_exists == "do_nothing":
                    return found
                raise Conflict(f"Assistant {assistant_id} already exists")
            statements.add(tx, assistant)
            return assistant

        return await self._database.write(work)

    async def get(self, caller: Caller, assistant_id: str) -> Assistant:
        """One assistant, by id or by its graph's name. Raises Invalid or NotFound."""
        return await self._database.read(lambda tx: self._get(tx, assistant_id))

    async def resolved(self, caller: Caller, assistant_id: str) -> Assistant:
        """The assistant to use a graph with, as a run would. Raises Invalid or NotFound."""
        return await self._database.read(lambda tx: resolve(tx, assistant_id, self._graph_ids))

    async def patch(self, caller: Caller, assistant_id: str, change: AssistantChange) -> Assistant:
        """Change an assistant, which makes a version; a change that says nothing makes none.

        Raises Invalid, Contradiction, or NotFound for the assistant or the graph.
        """
        if change.graph_id is not None:
            self._check_graph(change.graph_id)

        def work(tx: Tx) -> Assistant:
            before = self._get(tx, assistant_id, statements.get_to_change)
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
        assistant = await self.get(caller, assistant_id)
        if with_threads:
            await self._delete_threads(caller, assistant.assistant_id)

        def work(tx: Tx) -> bool:
            removed = statements.remove(tx, assistant.assistant_id)
            crons.remove_of_assistant(tx, assistant.assistant_id)  # now that no more can come
            return removed

        if not await self._database.write(work):
            raise _missing(assistant_id)

    async def search(self, caller: Caller, query: AssistantQuery, page: Page) -> tuple[list[Assistant], int]:
        """A page of the assistants that a query describes, and how many there are in all.

        Raises Invalid for a filter beyond the limits, NotFound for the graph.
        """
        if query.graph_id is not None:
            self._check_graph(query.graph_id)
        return await self._database.read(lambda tx: statements.search(tx, query, page))

    async def count(self, caller: Caller, query: AssistantQuery) -> int:
        """How many assistants a query describes. Raises like `search`."""
        if query.graph_id is not None:
            self._check_graph(query.graph_id)
        return await self._database.read(lambda tx: statements.count(tx, query))

    async def versions(
        self, caller: Caller, assistant_id: str, metadata: Json, page: Page
    ) -> list[Assistant]:
        """The versions of an assistant, newest first. Raises Invalid or NotFound."""

        def work(tx: Tx) -> list[Assistant]:
            found = self._get(tx, assistant_id)
            return statements.page_of_versions(tx, found.assistant_id, metadata, page)

        return await self._database.read(work)

    async def set_latest(self, caller: Caller, assistant_id: str, version: int) -> Assistant:
        """Make the assistant what it was as of a version, graph and context included.

        Raises Invalid, or NotFound for the assistant, the version or its graph.
        """

        def work(tx: Tx) -> Assistant:
            now_is = self._get(tx, assistant_id, statements.get_to_change)
            was = statements.get_version(tx, now_is.assistant_id, version)
            if was is None:
                raise NotFound(f"Version {version} of assistant {assistant_id} not found")
            self._check_graph(was.graph_id)
            again = replace(was, created_at=now_is.created_at, updated_at=now())
            statements.replace(tx, again)
            return again

        return await self._database.write(work)

    async def _delete_threads(self, caller: Caller, assistant_id: str) -> None:
        """In small transactions: each stops its runs, and the writer serves others in between."""
        found = await self._threads_of(assistant_id, "")
        while found:
            await asyncio.gather(*(self._delete_thread(caller, thread_id) for thread_id in found))
            found = await self._threads_of(assistant_id, found[-1])

    async def _threads_of(self, assistant_id: str, after: str) -> list[str]:
        return await self._database.read(
            lambda tx: statements.threads_of(tx, assistant_id, after, _THREADS_AT_ONCE)
        )

    async def _delete_thread(self, caller: Caller, thread_id: str) -> None:
        with suppress(NotFound):  # somebody else was faster
            await self._threads.delete(caller, thread_id)

    def _get(
        self, tx: Tx, assistant_id: str, get: Callable[[Tx, str], Assistant | None] = statements.get
    ) -> Assistant:
        """The assistant itself, whether or not its graph is served."""
        found = get(tx, id_of(assistant_id, self._graph_ids))
        if found is None:
            raise _missing(assistant_id)
        return found

    def _check_graph(self, graph_id: str) -> None:
        if graph_id not in self._graph_ids:
            names = ", ".join(self._graph_ids)
            raise NotFound(f"Graph '{graph_id}' not found. Expected one of: {names}")
