"""The rules of the store for clients: where they may write, and what they are told."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from server.errors import EmbeddingFailed, Invalid, RequestError
from server.models import Caller
from server.rules.items import IndexRules, ItemGet, ItemPut, ItemSearch, NamespaceSearch, StoreRules
from server.services.store import Store
from server.storage.database import Database
from server.storage.item_store import ItemStore

NOBODY = Caller()


class NoEmbedding:
    """Embeddings whose provider refuses."""

    def documents(self, texts: Sequence[str]) -> "Future[list[bytes | None]]":
        return self._refusal()

    def query(self, text: str) -> "Future[bytes | None]":
        return self._refusal()

    def _refusal(self) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_exception(PermissionError("wrong key sk-123"))
        return future


@pytest.fixture
def store(database: Database) -> Store:
    return Store(ItemStore(database, orjson.dumps))


async def test_items_are_written_read_found_and_deleted(store: Store) -> None:
    await store.put(NOBODY, ItemPut(("a", "b"), "k", {"n": 1}))
    found = await store.get(NOBODY, ItemGet(("a", "b"), "k"))
    assert found is not None
    assert found.value == b'{"n":1}'
    assert await store.search(NOBODY, ItemSearch(("a",), {"n": 1})) == [found]
    assert await store.namespaces(NOBODY, NamespaceSearch()) == [("a", "b")]
    await store.delete(NOBODY, ("a", "b"), "k")
    assert await store.get(NOBODY, ItemGet(("a", "b"), "k")) is None


@pytest.mark.parametrize("namespace", [(), ("langgraph",), ("langgraph", "x")])
async def test_nobody_writes_to_the_empty_or_the_reserved_namespace(
    store: Store, namespace: tuple[str, ...]
) -> None:
    with pytest.raises(RequestError, match="namespace") as refused:
        await store.put(NOBODY, ItemPut(namespace, "k", {}))
    assert not isinstance(refused.value, Invalid)
    assert await store.search(NOBODY, ItemSearch()) == []


async def test_only_the_first_label_is_reserved(store: Store) -> None:
    await store.put(NOBODY, ItemPut(("x", "langgraph"), "k", {}))
    assert await store.namespaces(NOBODY, NamespaceSearch()) == [("x", "langgraph")]


async def test_the_log_says_why_embeddings_failed_and_the_caller_does_not_hear_it(
    database: Database,
) -> None:
    store = Store(ItemStore(database, orjson.dumps, StoreRules(IndexRules("x:y", 3)), NoEmbedding()))
    with capture_logs() as logs, pytest.raises(EmbeddingFailed) as failed:
        await store.put(NOBODY, ItemPut(("a",), "k", {"text": "x"}))
    assert failed.value.message == "The embeddings of the store failed: PermissionError"
    assert [repr(entry["exc_info"]) for entry in logs] == ["PermissionError('wrong key sk-123')"]
    assert await store.get(NOBODY, ItemGet(("a",), "k")) is None
