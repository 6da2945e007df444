"""Statements about items: one by its key, many by namespace, filter and meaning. The expired are not there.

`at` is the present in seconds since 1970. What does not vary is built once (see runs.py).
"""

from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy import tuple_ as row_of

from ..errors import TooLarge
from ..rules.items import WILDCARD, Item, ItemSearch, Namespace, NamespaceSearch
from . import labels, vectors
from .database import Tx
from .filters import Condition
from .item_filters import matching
from .tables import item_vectors, items
from .upserts import INSERTS

SEARCH_BYTES_MAX = 64 * 2**20
DOT = labels.DOT

_COLUMNS = tuple(items.c)
_NAMES = tuple(column.name for column in _COLUMNS)
_alive = or_(items.c.expires_at.is_(None), items.c.expires_at > bindparam("at"))
_this = and_(items.c.namespace == bindparam("of_namespace"), items.c.key == bindparam("of_key"))
_get = select(*_COLUMNS).where(_this, _alive)
_delete = delete(items).where(_this)


def _putting(add: Any) -> Any:
    changed = {name: add.excluded[name] for name in _NAMES if name not in ("namespace", "key", "created_at")}
    return add.on_conflict_do_update(index_elements=["namespace", "key"], set_=changed)


_put = {engine: _putting(insert_(items)) for engine, insert_ in INSERTS.items()}
_bury = delete(items).where(_this, items.c.expires_at <= bindparam("at"))
_refresh = (
    update(items)
    .where(_this, _alive, items.c.ttl_seconds.is_not(None))
    .values(expires_at=bindparam("at") + items.c.ttl_seconds)
)
_sweep = delete(items).where(
    items.c.expires_at <= bindparam("at"),  # once more: somebody may be giving it more time just now
    row_of(items.c.namespace, items.c.key).in_(
        select(items.c.namespace, items.c.key)
        .where(items.c.expires_at <= bindparam("at"))
        .limit(bindparam("most"))
    ),
)
_clear_vectors = delete(item_vectors).where(
    item_vectors.c.namespace == bindparam("of_namespace"), item_vectors.c.key == bindparam("of_key")
)
_add_vectors = insert(item_vectors)


def get(tx: Tx, namespace: Namespace, key: str, at: float) -> Item | None:
    """One item."""
    row = tx.execute(_get, {**_name(namespace, key), "at": at}).first()
    return _item(row) if row else None


def put(tx: Tx, item: Item, found: Iterable[bytes], at: float) -> None:
    """Write an item and the vectors it is found by. One that is there keeps its `created_at`."""
    name = _name(item.namespace, item.key)
    tx.execute(_bury, {**name, "at": at})
    values = {column: getattr(item, column) for column in _NAMES}
    tx.execute(_put[tx.dialect.name], {**values, "namespace": DOT.join(item.namespace)})
    tx.execute(_clear_vectors, name)
    rows = [
        {"namespace": name["of_namespace"], "key": item.key, "idx": idx, "vector": vector}
        for idx, vector in enumerate(found)
    ]
    if rows:
        tx.execute(_add_vectors, rows)


def remove(tx: Tx, namespace: Namespace, key: str) -> None:
    """Delete an item, if it is there."""
    tx.execute(_delete, _name(namespace, key))


def refresh(tx: Tx, read: Iterable[Item], at: float) -> None:
    """Begin anew the time that items have to live, of those that still live."""
    for item in read:
        tx.execute(_refresh, {**_name(item.namespace, item.key), "at": at})


def sweep(tx: Tx, at: float, most: int) -> int:
    """Delete up to `most` items that have expired; returns how many there were."""
    return tx.execute(_sweep, {"at": at, "most": most}).rowcount


def search(tx: Tx, asked: ItemSearch, near: bytes | None, at: float) -> list[Item]:
    """The items at and below a namespace that match, with what is nearest to the vector `near` first.

    Those without a vector come after; equals, and all when there is no `near`, last written first. Raises
    what `item_filters.matching` raises, and TooLarge for a page of more than 64 MiB.
    """
    score: ColumnElement[Any] = null()
    source: Any = items
    if near is not None:
        vectors.prepare(tx)
        scored = _scored(tx, asked.prefix, near)
        score = scored.c.score
        same = and_(scored.c.namespace == items.c.namespace, scored.c.key == items.c.key)
        source = items.outerjoin(scored, same)
    # Sorted without the values, which may be large.
    page = (
        select(items.c.namespace, items.c.key, items.c.updated_at, score.label("score"))
        .select_from(source)
        .where(*_within(items.c.namespace, asked.prefix), _alive, *matching(tx, items.c.value, asked.filter))
    )
    page = page.order_by(*_order(page.selected_columns)).limit(asked.limit).offset(asked.offset)
    chosen = page.subquery()
    here = and_(chosen.c.namespace == items.c.namespace, chosen.c.key == items.c.key)
    query = (
        select(*_COLUMNS, chosen.c.score).select_from(chosen.join(items, here)).order_by(*_order(chosen.c))
    )
    return _bounded(map(_item, tx.execute(query, {"at": at})))


def namespaces(tx: Tx, asked: NamespaceSearch, at: float) -> list[Namespace]:
    """The namespaces that hold items and match, in the order of their text."""
    there = select(items.c.namespace).distinct().where(_alive, *_all_within(asked.prefixes)).subquery()
    of = labels.of(tx, there.c.namespace)
    conditions = [
        *(condition for prefix in asked.prefixes for condition in _labelled(of, prefix, 0)),
        *(condition for suffix in asked.suffixes for condition in _labelled(of, suffix, -len(suffix))),
    ]
    shown = there.c.namespace if asked.max_depth is None else of.first(asked.max_depth)
    query = select(shown.label("shown")).select_from(there).distinct().where(*conditions).order_by("shown")
    rows = tx.execute(query.limit(asked.limit).offset(asked.offset), {"at": at})
    return [tuple(text.split(DOT)) for text in rows.scalars()]


def _name(namespace: Namespace, key: str) -> dict[str, Any]:
    return {"of_namespace": DOT.join(namespace), "of_key": key}


def _item(row: Any) -> Item:
    fields = dict(row._mapping)
    return Item(**fields | {"namespace": tuple(fields["namespace"].split(DOT))})


def _within(column: ColumnElement[str], prefix: Namespace) -> list[Condition]:
    """A namespace or one below it, as a range of an index: "/" comes right after the dot."""
    if not prefix:
        return []
    path = DOT.join(prefix)
    return [or_(column == path, and_(column >= f"{path}.", column < f"{path}/"))]


def _all_within(prefixes: Iterable[Namespace]) -> list[Condition]:
    """The same for patterns, as far as they are without wildcards."""
    return [
        condition
        for prefix in prefixes
        for condition in _within(items.c.namespace, tuple(takewhile(lambda label: label != WILDCARD, prefix)))
    ]


def _scored(tx: Tx, prefix: Namespace, near: bytes) -> Any:
    """Each item's best vector. Vectors of another size are of a model that is no longer used."""
    column = item_vectors.c.vector
    return (
        select(
            item_vectors.c.namespace,
            item_vectors.c.key,
            func.max(vectors.nearness(tx, column, near)).label("score"),
        )
        .where(vectors.same_size(tx, column, near), *_within(item_vectors.c.namespace, prefix))
        .group_by(item_vectors.c.namespace, item_vectors.c.key)
        .subquery()
    )


def _order(columns: Any) -> list[ColumnElement[Any]]:
    return [columns.score.desc().nulls_last(), columns.updated_at.desc(), columns.namespace, columns.key]


def _bounded(found: Iterable[Item]) -> list[Item]:
    kept: list[Item] = []
    size = 0
    for item in found:
        kept.append(item)
        size += len(item.value)
        if size > SEARCH_BYTES_MAX:
            raise TooLarge(
                f"{len(kept)} items are larger than {SEARCH_BYTES_MAX} bytes: ask for fewer (limit)"
            )
    return kept


def _labelled(of: labels.Labels, wanted: Namespace, first: int) -> list[Condition]:
    """The conditions that these labels stand from a place on; a wildcard is any label, but one."""
    found = [(of.at(first + index), label) for index, label in enumerate(wanted)]
    return [at.is_not(None) if label == WILDCARD else at == literal(label) for at, label in found]
