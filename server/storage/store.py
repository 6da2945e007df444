"""The long-term store as graphs see it: LangGraph's interface to the items that clients have too."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from langgraph.store.base import (
    BaseStore,
    GetOp,
    ListNamespacesOp,
    Op,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)
from langgraph.store.base import Item as GraphItem

from ..errors import EmbeddingFailed, RequestError
from ..rules.items import Item, ItemDelete, ItemGet, ItemOperation, ItemPut, ItemSearch, NamespaceSearch
from .item_store import ItemStore


class EmbeddedStore(BaseStore):
    """The same store as graphs see it: what embeddings raise comes as it is, mistakes are ValueErrors."""

    supports_ttl = True

    def __init__(self, items: ItemStore) -> None:
        self._items = items
        ttl = items.rules.default_ttl_seconds
        self.ttl_config = TTLConfig(
            default_ttl=None if ttl is None else ttl / 60, refresh_on_read=items.rules.refresh_on_read
        )

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        listed = [*ops]
        with _for_graphs():
            return _results(listed, self._items.run_now([_operation(op) for op in listed]))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        listed = [*ops]
        with _for_graphs():
            return _results(listed, await self._items.run([_operation(op) for op in listed]))


@contextmanager
def _for_graphs() -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        raise ValueError(error.message) from error
    except EmbeddingFailed as error:
        raise error.__cause__ or error from None


def _operation(op: Op) -> ItemOperation:
    validate_op_namespace(op)
    if isinstance(op, GetOp):
        return ItemGet(tuple(op.namespace), op.key, op.refresh_ttl)
    if isinstance(op, SearchOp):
        prefix, wanted = tuple(op.namespace_prefix), dict(op.filter or {})
        return ItemSearch(prefix, wanted, op.limit, op.offset, op.query, op.refresh_ttl)
    if isinstance(op, ListNamespacesOp):
        return NamespaceSearch(_paths(op, "prefix"), _paths(op, "suffix"), op.max_depth, op.limit, op.offset)
    if op.value is None:
        return ItemDelete(tuple(op.namespace), op.key)
    index = () if op.index is False else op.index
    ttl = math.inf if op.ttl is None else op.ttl * 60
    return ItemPut(tuple(op.namespace), op.key, op.value, ttl, None if index is None else tuple(index))


def _paths(op: ListNamespacesOp, kind: str) -> tuple[tuple[str, ...], ...]:
    conditions = op.match_conditions or ()
    return tuple(tuple(each.path) for each in conditions if each.match_type == kind)


def _results(ops: list[Op], found: list[Any]) -> list[Result]:
    return [_result(op, one) for op, one in zip(ops, found, strict=True)]


def _result(op: Op, found: Any) -> Result:
    if isinstance(op, SearchOp):
        return [SearchItem(**_fields(item), score=item.score) for item in found]
    return GraphItem(**_fields(found)) if isinstance(found, Item) else found


def _fields(item: Item) -> dict[str, Any]:
    value = orjson.loads(item.value)
    names = ("namespace", "key", "created_at", "updated_at")
    return {"value": value, **{name: getattr(item, name) for name in names}}
