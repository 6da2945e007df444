"""The leave to make, change and see crons: what handlers are told of them, and what they leave of it."""

from collections.abc import Sequence
from dataclasses import replace

from ..models import Caller, Json
from ..rules.access import EVERYTHING, Scope
from ..rules.crons import Cron, CronQuery
from .authorization import Authorization, metadata_in
from .resolution import id_of, to_run

Mine = tuple[Scope, Scope]


class CronLeave:
    """Asks for it. Raises what `Authorization.ask` raises."""

    def __init__(self, authorization: Authorization, graph_ids: Sequence[str]) -> None:
        self._ask = authorization.ask
        self._graph_ids = graph_ids

    async def create(self, caller: Caller, new: Cron, said: Json) -> tuple[Json, Mine]:
        """What is to be stored; and within what its assistant and its thread are found."""
        value = {
            "payload": said,
            "schedule": said["schedule"],
            "cron_id": new.cron_id,
            "thread_id": new.thread_id,
            "user_id": new.identity,
            "end_time": said.get("end_time"),
            "metadata": dict(said.get("metadata", {})),
        }
        await self._ask(caller, "crons", "create", value)
        assistant_id = id_of(new.assistant_id, self._graph_ids)
        found = await self._ask(caller, "assistants", "read", {"assistant_id": assistant_id})
        of_assistants, of_threads = to_run(assistant_id, self._graph_ids, found), EVERYTHING
        if new.thread_id is not None:
            of_threads = await self._ask(caller, "threads", "read", {"thread_id": new.thread_id})
        return _with_metadata(said, metadata_in(value)), (of_assistants, of_threads)

    async def update(self, caller: Caller, cron_id: str, said: Json) -> tuple[Json, Scope]:
        """What is to be stored; and within what the cron is found."""
        value = {
            "cron_id": cron_id,
            **{key: said.get(key) for key in ("schedule", "end_time", "enabled", "on_run_completed")},
            "payload": said,
            "metadata": dict(said.get("metadata", {})),
        }
        scope = await self._ask(caller, "crons", "update", value)
        return _with_metadata(said, metadata_in(value)), scope

    async def of(self, caller: Caller, action: str, cron_id: str) -> Scope:
        """Within what one cron is found."""
        return await self._ask(caller, "crons", action, {"cron_id": cron_id})

    async def search(
        self, caller: Caller, query: CronQuery, limit: int, offset: int
    ) -> tuple[CronQuery, Mine]:
        """The query by ids; and which crons, and of which threads, it may find."""
        if query.assistant_id is not None:
            query = replace(query, assistant_id=id_of(query.assistant_id, self._graph_ids))
        value = {
            "assistant_id": query.assistant_id,
            "thread_id": query.thread_id,
            "metadata": dict(query.metadata),
            "limit": limit,
            "offset": offset,
        }
        of_crons = await self._ask(caller, "crons", "search", value)
        on_threads: Json = {"thread_id": query.thread_id, "metadata": {}}
        of_threads = await self._ask(caller, "threads", "search", on_threads)
        return replace(query, metadata=metadata_in(value)), (of_crons, of_threads)


def _with_metadata(said: Json, metadata: Json) -> Json:
    """What was said, with the metadata that a handler has left."""
    return said if metadata == said.get("metadata", {}) else {**said, "metadata": metadata}
