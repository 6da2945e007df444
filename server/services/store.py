"""Rules of the store: which namespaces may be written to (contract/resources.md 6).

Graphs use the same store without asking here: they are the server's own.
"""

from typing import Any

import structlog

from ..errors import EmbeddingFailed, RequestError
from ..items import Item, ItemDelete, ItemGet, ItemOperation, ItemPut, ItemSearch, Namespace, NamespaceSearch
from ..models import Caller
from ..storage.item_store import ItemStore

RESERVED = "langgraph"  # as the first label
_log = structlog.get_logger(__name__)


class Store:
    """The items of this server. What has expired is not there."""

    def __init__(self, items: ItemStore) -> None:
        self._items = items

    async def put(self, caller: Caller, asked: ItemPut) -> None:
        """Write an item; one that is there keeps its `created_at`.

        Raises RequestError for the empty and the reserved namespace, Invalid, EmbeddingFailed: nothing is
        written then.
        """
        if not asked.namespace:
            raise RequestError("namespace: must have at least one label")
        if asked.namespace[0] == RESERVED:
            raise RequestError(f'namespace: the first label "{RESERVED}" is reserved')
        await self._run(asked)

    async def get(self, caller: Caller, asked: ItemGet) -> Item | None:
        """One item, or None."""
        found: Item | None = await self._run(asked)
        return found

    async def delete(self, caller: Caller, namespace: Namespace, key: str) -> None:
        """Delete an item, if it is there."""
        await self._run(ItemDelete(namespace, key))

    async def search(self, caller: Caller, asked: ItemSearch) -> list[Item]:
        """Items, nearest to the query first, else last written first.

        Raises RequestError for a filter that makes no sense, Invalid, TooLarge, EmbeddingFailed.
        """
        found: list[Item] = await self._run(asked)
        return found

    async def namespaces(self, caller: Caller, asked: NamespaceSearch) -> list[Namespace]:
        """Namespaces that hold items."""
        found: list[Namespace] = await self._run(asked)
        return found

    async def _run(self, asked: ItemOperation) -> Any:
        try:
            return (await self._items.run([asked]))[0]
        except EmbeddingFailed as failure:
            _log.error("the embeddings of the store failed", exc_info=failure.__cause__)
            raise
