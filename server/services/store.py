"""Rules of the store: which namespaces may be written to, and whose they are (contract/resources.md 6, 10.2).

A handler of authorisation may put another namespace in the place of the one that was asked for. Where none
says anything, everybody has the namespaces that begin with his identity: items have no metadata, and what
graphs write has no owner. Graphs use the same store without asking here: they are the server's own.
"""

import math
from dataclasses import replace
from typing import Any

import structlog

from ..errors import EmbeddingFailed, Forbidden, Invalid, RequestError
from ..models import Caller, Json
from ..rules.access import Scope
from ..rules.items import (
    WILDCARD,
    Item,
    ItemDelete,
    ItemGet,
    ItemOperation,
    ItemPut,
    ItemSearch,
    Namespace,
    NamespaceSearch,
)
from ..storage.item_store import ItemStore
from .authorization import OPEN, Authorization

RESERVED = "langgraph"  # as the first label
LABELS_MAX = 100
_log = structlog.get_logger(__name__)


def label_of(identity: str) -> str:
    """The label that a caller's namespaces begin with: his identity, a dot in it written `%2E`."""
    return identity.replace("%", "%25").replace(".", "%2E")


class Store:
    """The items of this server. What has expired is not there."""

    def __init__(self, items: ItemStore, authorization: Authorization = OPEN) -> None:
        self._items = items
        self._authorization = authorization

    async def put(self, caller: Caller, asked: ItemPut) -> None:
        """Write an item; one that is there keeps its `created_at`.

        Raises RequestError for the empty and the reserved namespace, Invalid, EmbeddingFailed: nothing is
        written then.
        """
        ttl = asked.ttl_seconds
        value = {
            "namespace": asked.namespace,
            "key": asked.key,
            "value": asked.value,
            "index": None if asked.index is None else list(asked.index) or False,
            "ttl": None if ttl is None or ttl == math.inf else ttl / 60,
        }
        namespace = await self._own(caller, "put", value)
        if not namespace:
            raise RequestError("namespace: must have at least one label")
        if namespace[0] == RESERVED:
            raise RequestError(f'namespace: the first label "{RESERVED}" is reserved')
        await self._run(replace(asked, namespace=namespace))

    async def get(self, caller: Caller, asked: ItemGet) -> Item | None:
        """One item, or None."""
        value = {"namespace": asked.namespace, "key": asked.key, "refresh_ttl": asked.refresh}
        namespace = await self._own(caller, "get", value)
        found: Item | None = await self._run(replace(asked, namespace=namespace))
        return found

    async def delete(self, caller: Caller, namespace: Namespace, key: str) -> None:
        """Delete an item, if it is there."""
        own = await self._own(caller, "delete", {"namespace": namespace, "key": key})
        await self._run(ItemDelete(own, key))

    async def search(self, caller: Caller, asked: ItemSearch) -> list[Item]:
        """Items, nearest to the query first, else last written first.

        Raises RequestError for a filter that makes no sense, Invalid, TooLarge, EmbeddingFailed.
        """
        value = {
            "namespace": asked.prefix,
            "filter": asked.filter,
            "limit": asked.limit,
            "offset": asked.offset,
            "query": asked.query,
            "refresh_ttl": asked.refresh,
        }
        scope = await self._authorization.ask(caller, "store", "search", value)
        prefix = _below(scope, _namespace(value))
        found: list[Item] = await self._run(replace(asked, prefix=prefix))
        return found

    async def namespaces(self, caller: Caller, asked: NamespaceSearch) -> list[Namespace]:
        """Namespaces that hold items."""
        value = {
            "namespace": asked.prefixes[0] if asked.prefixes else None,
            "suffix": asked.suffixes[0] if asked.suffixes else None,
            "max_depth": asked.max_depth,
            "limit": asked.limit,
            "offset": asked.offset,
        }
        scope = await self._authorization.ask(caller, "store", "list_namespaces", value)
        prefix = _below(scope, _namespace(value))
        found: list[Namespace] = await self._run(replace(asked, prefixes=(prefix,) if prefix else ()))
        return found

    async def _own(self, caller: Caller, action: str, value: Json) -> Namespace:
        """The namespace of one item. Raises Forbidden for one that is somebody else's."""
        scope = await self._authorization.ask(caller, "store", action, value)
        namespace = _namespace(value)
        if scope.owner is not None and (not namespace or namespace[0] != label_of(scope.owner)):
            raise _foreign(scope.owner)
        return namespace

    async def _run(self, asked: ItemOperation) -> Any:
        try:
            return (await self._items.run([asked]))[0]
        except EmbeddingFailed as failure:
            _log.error("the embeddings of the store failed", exc_info=failure.__cause__)
            raise


def _below(scope: Scope, prefix: Namespace) -> Namespace:
    """Where a search begins: among the caller's own. Raises Forbidden for what is somebody else's."""
    if scope.owner is None:
        return prefix
    own = label_of(scope.owner)
    if prefix and prefix[0] not in (own, WILDCARD):
        raise _foreign(scope.owner)
    return (own, *prefix[1:])


def _foreign(identity: str) -> Forbidden:
    return Forbidden(f'namespace: yours begin with "{label_of(identity)}"')


def _namespace(value: Json) -> Namespace:
    """The namespace as the handler left it. Raises Invalid for what is none."""
    labels: Any = value.get("namespace") or ()
    if isinstance(labels, str) or len(labels) > LABELS_MAX:
        raise Invalid("namespace: must be a list of labels")
    if not all(isinstance(label, str) and label and "." not in label for label in labels):
        raise Invalid("namespace: a label must be a text without dots")
    return tuple(labels)
