"""The store keeps items as long as they live, shows nothing else, and holds up nobody who writes."""

import asyncio
import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import orjson
import pytest
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from sqlalchemy import update

from server import clock
from server.errors import EmbeddingFailed, Invalid, TooLarge
from server.rules.items import (
    IndexRules,
    Item,
    ItemDelete,
    ItemGet,
    ItemPut,
    ItemSearch,
    NamespaceSearch,
    StoreRules,
)
from server.storage import item_store as module
from server.storage import items as statements
from server.storage import vectors
from server.storage.database import Database
from server.storage.item_store import SWEEP_MAX, ItemStore
from server.storage.store import EmbeddedStore
from server.storage.tables import item_vectors
from server.streaming.encode import encode

NS = ("users", "u1")


class Clock:
    """The time, moved by hand."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def seconds(self) -> float:
        return self.time

    def now(self) -> str:
        return f"2026-01-01T00:00:{self.time - 1_000_000:09.6f}+00:00"


class Letters:
    """Embeddings: how often a, b and c occur. Answers at once, or when `hold` is set, when told to."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.hold: list[Future[Any]] | None = None
        self.failure: BaseException | None = None

    def documents(self, texts: Sequence[str]) -> "Future[list[bytes | None]]":
        return self._answer([*texts], [self._vector(text) for text in texts])

    def query(self, text: str) -> "Future[bytes | None]":
        return self._answer([text], self._vector(text))

    @staticmethod
    def _vector(text: str) -> bytes | None:
        return vectors.pack([text.count(letter) for letter in "abc"])

    def _answer(self, texts: list[str], answer: Any) -> "Future[Any]":
        self.asked.append(texts)
        future: Future[Any] = Future()
        if self.hold is not None:
            self.hold.append(future)
        elif self.failure:
            future.set_exception(self.failure)
        else:
            future.set_result(answer)
        return future


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    hands = Clock()
    monkeypatch.setattr(module, "seconds", hands.seconds)
    monkeypatch.setattr(module, "now", hands.now)
    return hands


@pytest.fixture
def store(database: Database) -> ItemStore:
    return ItemStore(database, encode)


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def indexed(database: Database, letters: Letters) -> ItemStore:
    return ItemStore(database, encode, StoreRules(IndexRules("x:y", 3, ("text",))), letters)


def put(store: ItemStore, key: str, value: Any = None, namespace: tuple[str, ...] = NS, **more: Any) -> None:
    store.run_now([ItemPut(namespace, key, {} if value is None else value, **more)])


def get(store: ItemStore, key: str, namespace: tuple[str, ...] = NS, refresh: bool | None = None) -> Any:
    """The value of an item, or None."""
    found = store.run_now([ItemGet(namespace, key, refresh)])[0]
    return found and orjson.loads(found.value)


def item(store: ItemStore, key: str, namespace: tuple[str, ...] = NS) -> Item:
    found = store.run_now([ItemGet(namespace, key, refresh=False)])[0]
    assert isinstance(found, Item)
    return found


def search(store: ItemStore, *prefix: str, **asked: Any) -> list[str]:
    return [found.key for found in store.run_now([ItemSearch(prefix, **asked)])[0]]


def namespaces(store: ItemStore, **asked: Any) -> list[str]:
    return ["/".join(found) for found in store.run_now([NamespaceSearch(**asked)])[0]]


def count(database: Database, table: str) -> int:
    return database.read_now(lambda tx: int(tx.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()))


# ---------------------------------------------------------------- one item
def test_an_item_comes_back_as_it_was_put(store: ItemStore) -> None:
    value = {"text": "é 漢 😀 \u2028", "n": [1, 2.5, True, None], "deep": {"a": {"": 0}}}
    put(store, "any key: ' \" %", value)
    assert get(store, "any key: ' \" %") == value
    assert get(store, "another") is None
    assert get(store, "any key: ' \" %", ("users",)) is None


def test_overwriting_keeps_when_an_item_was_made(store: ItemStore, time: Clock) -> None:
    put(store, "k", {"n": 1})
    time.time += 5
    put(store, "k", {"n": 2})
    found = item(store, "k")
    assert (found.created_at[17:19], found.updated_at[17:19], found.value) == ("00", "05", b'{"n":2}')


def test_an_item_that_follows_an_expired_one_is_new(store: ItemStore, time: Clock) -> None:
    put(store, "k", ttl_seconds=1)
    time.time += 5
    put(store, "k")
    found = item(store, "k")
    assert (found.created_at, found.expires_at) == (found.updated_at, None)


def test_deleting_removes_one_item_and_nothing_else(store: ItemStore) -> None:
    put(store, "k")
    put(store, "k", namespace=("users",))
    store.run_now([ItemDelete(NS, "k"), ItemDelete(NS, "never there")])
    assert (get(store, "k"), get(store, "k", ("users",))) == (None, {})


def test_operations_of_a_batch_read_first_and_the_last_write_wins(store: ItemStore) -> None:
    put(store, "k", {"n": 1})
    two, three = ItemPut(NS, "k", {"n": 2}), ItemPut(NS, "k", {"n": 3})
    found = store.run_now([two, ItemGet(NS, "k"), three, ItemPut(NS, "gone", {}), ItemDelete(NS, "gone")])
    assert [found[0], found[1].value, *found[2:]] == [None, b'{"n":1}', None, None, None]
    assert (get(store, "k"), get(store, "gone")) == ({"n": 3}, None)


# ---------------------------------------------------------------- searches
def test_a_search_stays_within_its_namespace(store: ItemStore) -> None:
    for namespace in ("a", "a.b", "a.b.c", "a-b", "ab", "A", "a*", "a!", "a/b", "a0", "*", "%", "_"):
        put(store, namespace, namespace=tuple(namespace.split(".")))
    assert sorted(search(store, "a")) == ["a", "a.b", "a.b.c"]
    assert sorted(search(store, "a", "b")) == ["a.b", "a.b.c"]
    for label in ("*", "%", "_", "a*", "A", "a/b"):
        assert search(store, label) == [label]
    assert len(search(store, limit=100)) == 13


def test_what_was_written_last_is_found_first(store: ItemStore, time: Clock) -> None:
    for key in "abcd":
        put(store, key)
        time.time += 1
    put(store, "b")
    assert search(store) == ["b", "d", "c", "a"]
    assert search(store, limit=2) == ["b", "d"]
    assert search(store, limit=2, offset=1) == ["d", "c"]
    assert search(store, offset=9) == []


def test_items_of_one_moment_are_in_the_order_of_their_names(store: ItemStore, time: Clock) -> None:
    for key in "cab":
        put(store, key)
        put(store, key, namespace=("a",))
    assert search(store) == ["a", "b", "c"] * 2


def test_a_page_of_too_many_bytes_is_refused(store: ItemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "SEARCH_BYTES_MAX", 100)
    for key in "abc":
        put(store, key, {"text": "x" * 40})
    assert len(search(store, limit=1)) == 1
    with pytest.raises(TooLarge, match="ask for fewer"):
        search(store)


# ---------------------------------------------------------------- namespaces
@pytest.fixture
def tree(store: ItemStore) -> ItemStore:
    for namespace in ("a", "a.b.c", "a.b.d", "a.b.d.e", "a.x", "ab.b", "b.a.b", 'q"\\.é', "z"):
        put(store, "k", namespace=tuple(namespace.split(".")))
    return store


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"prefixes": (("a",),)}, "a a/b/c a/b/d a/b/d/e a/x"),
        ({"prefixes": (("a", "b", "d"),)}, "a/b/d a/b/d/e"),
        ({"prefixes": (("*",),), "limit": 2}, "a a/b/c"),
        ({"prefixes": (("*", "b"),)}, "a/b/c a/b/d a/b/d/e ab/b"),
        ({"prefixes": (("a", "*", "d"),)}, "a/b/d a/b/d/e"),
        ({"prefixes": (("a", "*"),)}, "a/b/c a/b/d a/b/d/e a/x"),
        ({"suffixes": (("b",),)}, "ab/b b/a/b"),
        ({"suffixes": (("a", "b"),)}, "b/a/b"),
        ({"suffixes": (("b", "*"),)}, "a/b/c a/b/d"),
        ({"suffixes": (("é",),)}, 'q"\\/é'),
        ({"prefixes": (("a",),), "suffixes": (("d",),)}, "a/b/d"),
        ({"prefixes": (("a",), ("*", "b"))}, "a/b/c a/b/d a/b/d/e"),
        ({"max_depth": 1}, 'a ab b q"\\ z'),
        ({"max_depth": 2, "prefixes": (("a",),)}, "a a/b a/x"),
        ({"max_depth": 2, "limit": 2, "offset": 1}, "a/b a/x"),
        ({"max_depth": 9, "suffixes": (("e",),)}, "a/b/d/e"),
        ({"prefixes": (("nothing",),)}, ""),
        ({"prefixes": (("A",),)}, ""),
        ({"prefixes": (("a", "b", "c", "d", "e", "f"),)}, ""),
    ],
    ids=str,
)
def test_namespaces_are_found_by_patterns(tree: ItemStore, asked: Any, found: str) -> None:
    assert namespaces(tree, **asked) == found.split()


def test_a_namespace_is_there_as_long_as_it_holds_an_item(store: ItemStore, time: Clock) -> None:
    put(store, "k", ttl_seconds=10)
    assert namespaces(store) == ["users/u1"]
    get(store, "k", ("read", "only"))
    store.run_now([ItemDelete(("deleted", "only"), "k")])
    assert namespaces(store) == ["users/u1"]
    time.time += 10
    assert namespaces(store) == namespaces(store, max_depth=1) == []


# ---------------------------------------------------------------- times to live
def test_what_has_expired_is_not_there(store: ItemStore, time: Clock) -> None:
    put(store, "short", ttl_seconds=10)
    put(store, "long", ttl_seconds=math.inf)
    time.time += 9.9
    assert get(store, "short", refresh=False) == {}
    time.time += 0.1
    assert (get(store, "short"), search(store)) == (None, ["long"])
    assert (item(store, "long").expires_at, item(store, "long").ttl_seconds) == (None, None)


@pytest.mark.parametrize("rule", [True, False])
@pytest.mark.parametrize("asked", [True, False, None])
def test_a_read_prolongs_a_life_if_it_or_the_rule_says_so(
    database: Database, time: Clock, rule: bool, asked: bool | None
) -> None:
    store = ItemStore(database, encode, StoreRules(refresh_on_read=rule))
    prolongs = rule if asked is None else asked
    for read in (lambda: get(store, "k", refresh=asked), lambda: search(store, refresh=asked)):
        put(store, "k", {"n": 1}, ttl_seconds=10)
        time.time += 6
        assert read()
        time.time += 6
        assert (get(store, "k", refresh=False) is not None) is prolongs


def test_what_expires_between_its_reading_and_its_prolonging_stays_dead(
    database: Database, store: ItemStore, time: Clock
) -> None:
    put(store, "k", ttl_seconds=10)
    read = item(store, "k")
    time.time += 10
    database.write_now(lambda tx: statements.refresh(tx, [read], time.time))
    assert get(store, "k") is None


def test_a_search_prolongs_what_it_shows_and_nothing_else(store: ItemStore, time: Clock) -> None:
    for key in "ab":
        put(store, key, ttl_seconds=10)
    time.time += 6
    assert search(store, limit=1) == ["a"]
    time.time += 6
    assert search(store) == ["a"]


def test_the_rule_gives_a_life_to_those_that_say_nothing(database: Database, time: Clock) -> None:
    store = ItemStore(database, encode, StoreRules(default_ttl_seconds=10))
    put(store, "rule")
    put(store, "own", ttl_seconds=20)
    put(store, "ever", ttl_seconds=math.inf)
    time.time += 10
    assert sorted(search(store, refresh=False)) == ["ever", "own"]
    time.time += 10
    assert search(store, refresh=False) == ["ever"]


async def test_a_sweep_deletes_all_that_has_expired(
    database: Database, indexed: ItemStore, time: Clock
) -> None:
    many = [
        ItemPut(NS, str(index), {"text": "a"}, ttl_seconds=1.0 if index else 9.0)
        for index in range(SWEEP_MAX + 5)
    ]
    await indexed.run(many)
    time.time += 1
    await indexed.sweep()
    assert (count(database, "items"), count(database, "item_vectors")) == (1, 1)


async def test_reads_and_searches_go_on_while_the_writer_is_busy(
    database: Database, store: ItemStore, time: Clock
) -> None:
    """Unless they prolong a life by a hundredth at least, they write nothing."""
    put(store, "k", {"n": 1}, ttl_seconds=100)
    time.time += 0.9
    busy, go_on = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        busy.set()
        go_on.wait()

    holding = asyncio.ensure_future(database.write(hold))
    await asyncio.to_thread(busy.wait)
    try:
        async with asyncio.timeout(10):
            read = [ItemGet(NS, "k"), ItemSearch(filter={"n": 1}), NamespaceSearch()]
            assert [bool(found) for found in await store.run(read)] == [True, True, True]
            time.time += 0.2
            late = asyncio.ensure_future(store.run([ItemGet(NS, "k")]))
            await store.run([ItemGet(NS, "k", refresh=False)])
            assert not late.done()
    finally:
        go_on.set()
        await holding
    assert (await late)[0].value == b'{"n":1}'


# ---------------------------------------------------------------- searches by meaning
def test_the_nearest_is_found_first_and_what_has_no_vector_last(indexed: ItemStore, time: Clock) -> None:
    put(indexed, "c", {"text": "c"})
    put(indexed, "ab", {"text": "ab"})
    put(indexed, "a", {"text": "aa"})
    put(indexed, "plain", {"other": 1})
    put(indexed, "unindexed", {"text": "a"}, index=())
    found = indexed.run_now([ItemSearch(query="a")])[0]
    assert [(each.key, each.score and round(each.score, 4)) for each in found] == [
        ("a", 1.0),
        ("ab", 0.7071),
        ("c", 0.0),
        ("plain", None),
        ("unindexed", None),
    ]


def test_pages_filters_and_namespaces_hold_for_searches_by_meaning(indexed: ItemStore) -> None:
    for index in range(20):
        put(
            indexed, f"{index:02}", {"text": "a" + "b" * index, "even": index % 2 == 0}, ("n", str(index % 4))
        )
    assert search(indexed, query="a", limit=3) == ["00", "01", "02"]
    assert search(indexed, query="a", limit=3, offset=15) == ["15", "16", "17"]
    assert search(indexed, query="a", filter={"even": True}, limit=3) == ["00", "02", "04"]
    assert search(indexed, "n", "3", query="a", limit=2) == ["03", "07"]


def test_an_item_is_as_near_as_the_nearest_of_its_texts(indexed: ItemStore, letters: Letters) -> None:
    put(indexed, "many", {"texts": ["b", "c", "a"]}, index=("texts[*]", "missing"))
    put(indexed, "one", {"text": "ab"})
    assert letters.asked == [["b", "c", "a"], ["ab"]]
    assert search(indexed, query="a") == ["many", "one"]


def test_overwriting_and_deleting_leave_no_vector_behind(database: Database, indexed: ItemStore) -> None:
    put(indexed, "k", {"t": ["a", "b", "c"]}, index=("t[*]",))
    assert count(database, "item_vectors") == 3
    put(indexed, "k", {"text": "a"})
    assert count(database, "item_vectors") == 1
    indexed.run_now([ItemDelete(NS, "k")])
    assert count(database, "item_vectors") == 0


def test_vectors_of_another_model_are_not_compared(database: Database, indexed: ItemStore) -> None:
    put(indexed, "new", {"text": "a"})
    put(indexed, "old", {"text": "a"})
    shorten = update(item_vectors).where(item_vectors.c.key == "old").values(vector=vectors.pack([1, 0]))
    database.write_now(lambda tx: tx.execute(shorten).rowcount)
    found = indexed.run_now([ItemSearch(query="a")])[0]
    assert [(each.key, each.score) for each in found] == [("new", pytest.approx(1.0)), ("old", None)]


@pytest.mark.parametrize("query", ["", "  ", "xyz"])
def test_a_query_that_says_nothing_finds_all(indexed: ItemStore, query: str) -> None:
    put(indexed, "k", {"text": "a"})
    assert search(indexed, query=query) == ["k"]


def test_texts_without_content_are_not_embedded(indexed: ItemStore, letters: Letters) -> None:
    put(indexed, "k", {"text": " \n"})
    assert letters.asked == []
    assert search(indexed, query="a") == ["k"]


def test_without_an_index_a_query_and_paths_are_ignored(store: ItemStore) -> None:
    put(store, "k", {"text": "a"}, index=("text",))
    assert search(store, query="b") == ["k"]


def test_an_item_with_too_many_texts_is_refused(database: Database, indexed: ItemStore) -> None:
    with pytest.raises(Invalid, match="index: an item may have 1000 texts"):
        put(indexed, "k", {"t": ["a"] * 1001}, index=("t[*]",))
    assert count(database, "items") == 0


async def test_nobody_waits_for_embeddings_but_who_asked(indexed: ItemStore, letters: Letters) -> None:
    letters.hold = []
    slow = asyncio.ensure_future(indexed.run([ItemPut(NS, "slow", {"text": "a"})]))
    await asyncio.sleep(0)
    assert letters.hold
    async with asyncio.timeout(10):
        await indexed.run([ItemPut(NS, "quick", {"other": 1})])
        assert [found.key for found in (await indexed.run([ItemSearch()]))[0]] == ["quick"]
    letters.hold[0].set_result([None])
    await slow
    assert get(indexed, "slow") == {"text": "a"}


@pytest.mark.parametrize("failure", [RuntimeError("key sk-1"), SystemExit(1), TimeoutError()], ids=repr)
async def test_embeddings_that_fail_write_nothing_and_tell_no_secret(
    database: Database, indexed: ItemStore, letters: Letters, failure: BaseException
) -> None:
    letters.failure = failure
    operations = [ItemPut(NS, "k", {"text": "a"}), ItemSearch(query="a")]
    for operation in operations:
        with pytest.raises(EmbeddingFailed) as raised:
            await indexed.run([operation])
        assert raised.value.message == f"The embeddings of the store failed: {type(failure).__name__}"
    assert count(database, "items") == 0


# ---------------------------------------------------------------- as graphs see it
@pytest.fixture
def graphs(store: ItemStore) -> EmbeddedStore:
    return EmbeddedStore(store)


async def test_graphs_use_the_same_items(store: ItemStore, graphs: EmbeddedStore) -> None:
    await graphs.aput(("users",), "2", {"name": "b"})
    await asyncio.to_thread(graphs.put, ("users",), "1", {"name": "a"})
    assert (get(store, "1", ("users",)), get(store, "2", ("users",))) == ({"name": "a"}, {"name": "b"})
    put(store, "3", {"name": "c"}, ("users",))
    found = await graphs.aget(("users",), "3")
    assert found is not None
    assert (found.namespace, found.key, found.value) == (("users",), "3", {"name": "c"})
    assert found.created_at.tzinfo is not None
    listed = await graphs.asearch(("users",), filter={"name": {"$gt": "a"}})
    assert [(each.key, each.score) for each in listed] == [("3", None), ("2", None)]
    assert await graphs.alist_namespaces(prefix=("users",), suffix=("users",)) == [("users",)]
    await graphs.adelete(("users",), "3")
    assert await graphs.aget(("users",), "3") is None


async def test_a_batch_of_graphs_gets_an_answer_to_each_operation(graphs: EmbeddedStore) -> None:
    await graphs.aput(NS, "k", {"n": 1})
    operations = [
        GetOp(NS, "k"),
        PutOp(NS, "new", {"n": 2}),
        SearchOp(("users",)),
        ListNamespacesOp((MatchCondition("prefix", ("users",)), MatchCondition("suffix", ("*",))), 1),
        GetOp(NS, "missing"),
        PutOp(NS, "k", None),
    ]
    got, written, found, listed, missing, deleted = await graphs.abatch(operations)
    assert got.value == {"n": 1}  # type: ignore[union-attr]
    assert [each.key for each in found] == ["k"]  # type: ignore[union-attr]
    assert (written, listed, missing, deleted) == (None, [("users",)], None, None)
    assert [each.key for each in await graphs.asearch(())] == ["new"]


async def test_values_of_graphs_are_what_a_client_would_see(graphs: EmbeddedStore) -> None:
    await graphs.aput(NS, "k", {"bytes": b"x", 1: {2}, "odd": float("nan")})
    found = await graphs.aget(NS, "k")
    assert found is not None
    assert found.value == {"bytes": "eA==", "1": [2], "odd": None}


async def test_minutes_of_graphs_are_minutes(database: Database, time: Clock) -> None:
    graphs = EmbeddedStore(ItemStore(database, encode, StoreRules(default_ttl_seconds=120)))
    await graphs.aput(NS, "rule", {})
    await graphs.aput(NS, "own", {}, ttl=3)
    await graphs.aput(NS, "ever", {}, ttl=None)
    for passed, left in ((119, "ever own rule"), (1, "ever own"), (60, "ever")):
        time.time += passed
        assert sorted(each.key for each in await graphs.asearch(NS, refresh_ttl=False)) == left.split()


@pytest.mark.parametrize("namespace", [(), ("a.b",), ("",), ("langgraph", "x"), ("a\0",)], ids=repr)
async def test_graphs_meet_the_rules_for_namespaces_as_value_errors(
    graphs: EmbeddedStore, namespace: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=r"[Nn]amespace"):
        await graphs.aput(namespace, "k", {})


async def test_a_batch_of_graphs_is_checked_as_well(graphs: EmbeddedStore) -> None:
    operations = (PutOp(("a.b",), "k", {}), GetOp(("a.b",), "k"), SearchOp(("",)))
    for operation in operations:
        with pytest.raises(ValueError, match=r"[Nn]amespace"):
            await graphs.abatch([operation])


async def test_graphs_meet_filters_that_make_no_sense_as_value_errors(graphs: EmbeddedStore) -> None:
    with pytest.raises(ValueError, match="unknown operator"):
        await graphs.asearch((), filter={"a": {"$in": [1]}})


async def test_graphs_see_why_embeddings_failed(indexed: ItemStore, letters: Letters) -> None:
    letters.failure = KeyError("quota")
    with pytest.raises(KeyError, match="quota"):
        await EmbeddedStore(indexed).aput(NS, "k", {"text": "a"})


def test_the_clock_of_the_store_is_the_servers() -> None:
    assert module.seconds is clock.seconds
    assert module.now is clock.now
