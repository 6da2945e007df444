"""Which checkpoints carry given metadata: containment, as the wire defines it (contract/resources.md 1.3)."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import islice
from typing import Any

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, get_checkpoint_id
from sqlalchemy import text

from ..models import Json
from .checkpoints import DatabaseSaver
from .database import Tx

PAGE = 500  # checkpoints whose metadata are in memory at a time
_newest_first = text(
    "SELECT checkpoint_id, metadata FROM checkpoints WHERE thread_id = :thread_id "
    "AND checkpoint_ns = :checkpoint_ns AND checkpoint_id = coalesce(CAST(:only AS TEXT), checkpoint_id) "
    "AND (CAST(:before AS TEXT) IS NULL OR checkpoint_id < :before) ORDER BY checkpoint_id DESC LIMIT :most"
)


class HistorySaver(DatabaseSaver):
    """Lists checkpoints as its base does, save that a filter means containment.

    The base compares text: `{"a": {}}` finds nothing, and keys with unusual letters are an error.
    """

    def __init__(self, saver: DatabaseSaver) -> None:
        self.__dict__.update(saver.__dict__)

    async def alist(self, config: RunnableConfig | None, **filters: Any) -> AsyncIterator[CheckpointTuple]:
        wanted = filters.pop("filter", None)
        if not wanted or config is None:
            async for found in super().alist(config, **filters):
                yield found
            return
        for one in await self._database.read(partial(_matching, config, wanted, **filters)):
            if (there := await self.aget_tuple(one)) is not None:
                yield there


def _matching(
    config: RunnableConfig,
    wanted: Json,
    tx: Tx,
    before: RunnableConfig | None = None,
    limit: int | None = None,
) -> list[RunnableConfig]:
    """Where they are, newest first; stops reading when there are enough."""
    at = {
        "thread_id": config["configurable"]["thread_id"],
        "checkpoint_ns": config["configurable"].get("checkpoint_ns", ""),
    }
    bounds = {"only": get_checkpoint_id(config), "before": before and get_checkpoint_id(before)}
    found = (id_ for id_, metadata in _all(tx, {**at, **bounds}) if contains(metadata, wanted))
    return [{"configurable": {**at, "checkpoint_id": id_}} for id_ in islice(found, limit)]


def _all(tx: Tx, wanted: Json) -> Iterator[tuple[str, Any]]:
    """The ids of checkpoints with their metadata, newest first, read page by page."""
    while True:
        page = tx.execute(_newest_first, {**wanted, "most": PAGE}).all()
        for id_, metadata in page:
            yield id_, metadata if isinstance(metadata, dict) else orjson.loads(metadata or b"{}")
        if len(page) < PAGE:
            return
        wanted = {**wanted, "before": page[-1][0]}


def contains(value: Any, wanted: Any) -> bool:
    """Whether JSON contains other JSON: objects key by key, everything else by equality, 1 is not true."""
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            return False
        return all(key in value and contains(value[key], item) for key, item in wanted.items())
    return _equal(value, wanted)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, dict) and isinstance(wanted, dict):
        return value.keys() == wanted.keys() and all(_equal(value[key], wanted[key]) for key in wanted)
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_equal, value, wanted))
    return isinstance(value, bool) is isinstance(wanted, bool) and bool(value == wanted)
