"""Operations on items: what is asked for is read on the readers, and nobody who writes waits for embeddings.

Texts are embedded before the transaction that stores them (docs/decisions/0009).
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

import orjson
from langgraph.store.base import get_text_at_path

from ..clock import now, seconds
from ..errors import EmbeddingFailed, Invalid
from ..rules.items import (
    Item,
    ItemDelete,
    ItemGet,
    ItemOperation,
    ItemPut,
    ItemSearch,
    Namespace,
    NamespaceSearch,
    StoreRules,
)
from . import items as statements
from .database import Database, Tx

TEXTS_MAX = 1_000  # of one item
SWEEP_MAX = 500  # rows a transaction: others wait for it
# A read that would add less than this part of an item's time to live writes nothing.
WORTH_REFRESHING = 0.01


class Embedding(Protocol):
    """Makes vectors of texts, for any thread; a text without content is never asked for.

    They come packed (`storage.vectors`): to pack many is too much work for the loop that serves HTTP.
    """

    def documents(self, texts: Sequence[str]) -> "Future[list[bytes | None]]":
        """A vector for each text; None for one without direction."""

    def query(self, text: str) -> "Future[bytes | None]":
        """The vector to look for."""


class ItemStore:
    """Runs operations on items: first all that read, then those that write, in their order, together.

    `encode` makes JSON of values. Raises EmbeddingFailed, caused by what `embedding` raises; Invalid for an
    item of too many texts; and what `storage.items.search` raises.
    """

    def __init__(
        self,
        database: Database,
        encode: Callable[[Any], bytes],
        rules: StoreRules | None = None,
        embedding: Embedding | None = None,
    ) -> None:
        self.rules = rules or StoreRules()
        self._database = database
        self._encode = encode
        self._embedding = embedding

    def on(self, database: Database) -> "ItemStore":
        """The same items, reached by another way."""
        return ItemStore(database, self._encode, self.rules, self._embedding)

    async def run(self, operations: Sequence[ItemOperation]) -> list[Any]:
        """The results, one for each: an Item or None, a list of Items, a list of Namespaces, or None."""
        batch = self._batch(operations)
        with _told():
            batch.take([await asyncio.wrap_future(vectors) for vectors in batch.ask(self._embedding)])
        if batch.reads:
            await self._database.read(batch.read)
        if batch.writes:
            await self._database.write(batch.write)
        return batch.results

    def run_now(self, operations: Sequence[ItemOperation]) -> list[Any]:
        """`run` for a thread that may block."""
        batch = self._batch(operations)
        with _told():
            batch.take([vectors.result() for vectors in batch.ask(self._embedding)])
        if batch.reads:
            self._database.read_now(batch.read)
        if batch.writes:
            self._database.write_now(batch.write)
        return batch.results

    async def sweep(self) -> None:
        """Delete what has expired. It is not shown any more anyway."""
        while await self._database.write(lambda tx: statements.sweep(tx, seconds(), SWEEP_MAX)) == SWEEP_MAX:
            pass

    def _batch(self, operations: Sequence[ItemOperation]) -> "_Batch":
        values = [self._encode(each.value) if isinstance(each, ItemPut) else b"" for each in operations]
        return _Batch(operations, values, self._texts(operations, values), self.rules)

    def _texts(self, operations: Sequence[ItemOperation], values: list[bytes]) -> list[list[str]]:
        """What of each item is to be found by searches."""
        if self._embedding is None or self.rules.index is None:
            return [[] for _ in operations]
        fields = self.rules.index.fields
        return [
            _texts(value, fields if each.index is None else each.index) if isinstance(each, ItemPut) else []
            for each, value in zip(operations, values, strict=True)
        ]


@contextmanager
def _told() -> Iterator[None]:
    """What embeddings raise is anything, SystemExit and all: they are user code."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException as failure:
        # Without its text, which may hold anything.
        raise EmbeddingFailed(f"The embeddings of the store failed: {type(failure).__name__}") from failure


def _texts(value: bytes, paths: Sequence[str]) -> list[str]:
    if not paths:
        return []
    plain = orjson.loads(value)
    found = [text for path in paths for text in get_text_at_path(plain, path) if text.strip()]
    if len(found) > TEXTS_MAX:
        raise Invalid(f"index: an item may have {TEXTS_MAX} texts to be found by, this one has {len(found)}")
    return found


class _Batch:
    """Operations on their way, with what they need and what they find."""

    def __init__(
        self,
        operations: Sequence[ItemOperation],
        values: list[bytes],
        texts: list[list[str]],
        rules: StoreRules,
    ) -> None:
        self._rules = rules
        self.results: list[Any] = [None] * len(operations)
        self._operations = operations
        self._values = values
        self._texts = texts
        self._queries: list[int] = []
        self._vectors: list[list[bytes]] = [[] for _ in operations]  # of what is written, or looked for
        self._stale: list[Item] = []

    def ask(self, embedding: Embedding | None) -> "list[Future[Any]]":
        """Have all texts embedded together, and each query."""
        if embedding is None:
            return []
        asked: list[Future[Any]] = []
        for index, each in enumerate(self._operations):
            if isinstance(each, ItemSearch) and each.query and each.query.strip():
                self._queries.append(index)
                asked.append(embedding.query(each.query))
        if texts := [text for some in self._texts for text in some]:
            asked.append(embedding.documents(texts))
        return asked

    def take(self, answers: list[Any]) -> None:
        """The answers to what was asked."""
        for index, vector in zip(self._queries, answers, strict=False):
            self._vectors[index] = [vector] if vector else []
        if len(answers) > len(self._queries):
            made = iter(answers[-1])
            for index, texts in enumerate(self._texts):
                self._vectors[index] += filter(None, islice(made, len(texts)))

    @property
    def reads(self) -> bool:
        return any(not isinstance(each, ItemPut | ItemDelete) for each in self._operations)

    @property
    def writes(self) -> bool:
        return bool(self._stale) or any(isinstance(each, ItemPut | ItemDelete) for each in self._operations)

    def read(self, tx: Tx) -> None:
        at = seconds()
        for index, each in enumerate(self._operations):
            if isinstance(each, ItemGet):
                found = statements.get(tx, each.namespace, each.key, at)
                self.results[index] = found
                self._note(each, [found] if found else [], at)
            elif isinstance(each, ItemSearch):
                near = self._vectors[index]
                self.results[index] = statements.search(tx, each, near[0] if near else None, at)
                self._note(each, self.results[index], at)
            elif isinstance(each, NamespaceSearch):
                self.results[index] = statements.namespaces(tx, each, at)

    def _note(self, asked: ItemGet | ItemSearch, found: list[Item], at: float) -> None:
        if self._rules.refresh_on_read if asked.refresh is None else asked.refresh:
            self._stale += [item for item in found if _is_stale(item, at)]

    def write(self, tx: Tx) -> None:
        """What stands for one item in its order; items in theirs, so that no two wait for each other."""
        statements.refresh(tx, sorted(self._stale, key=_name), seconds())
        written = [
            (index, each)
            for index, each in enumerate(self._operations)
            if isinstance(each, ItemPut | ItemDelete)
        ]
        for index, each in sorted(written, key=lambda one: _name(one[1])):
            if isinstance(each, ItemPut):
                item = self._new(each, self._values[index])
                statements.put(tx, item, self._vectors[index], seconds())
            else:
                statements.remove(tx, each.namespace, each.key)

    def _new(self, asked: ItemPut, value: bytes) -> Item:
        at = now()
        ttl = self._rules.default_ttl_seconds if asked.ttl_seconds is None else asked.ttl_seconds
        if ttl is None or ttl == math.inf:
            return Item(asked.namespace, asked.key, value, at, at)
        return Item(asked.namespace, asked.key, value, at, at, seconds() + ttl, ttl)


def _name(one: Item | ItemPut | ItemDelete) -> tuple[Namespace, str]:
    return one.namespace, one.key


def _is_stale(item: Item, at: float) -> bool:
    if item.ttl_seconds is None or item.expires_at is None:
        return False
    return at + item.ttl_seconds - item.expires_at > WORTH_REFRESHING * item.ttl_seconds
