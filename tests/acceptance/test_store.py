"""The store, as users of the SDKs, of plain HTTP and of graphs meet it: the same items for all of them."""

import inspect
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import wire
from fix_engine import Engine
from fix_gate import Gate
from fix_server import REPO, RunningServer, Server, eventually, start, stop
from langgraph_sdk import get_client, get_sync_client

SEMANTIC = REPO / "tests" / "graphs" / "store.json"
ITEM = {"namespace", "key", "value", "created_at", "updated_at"}


class Store:
    """The store of a client, synchronous or not."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            found = getattr(self._store, name)(*args, **kwargs)
            return await found if inspect.isawaitable(found) else found

        return call


@pytest.fixture(params=["sync", "async"])
async def store(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "sync":
        with get_sync_client(url=server.url, api_key=None) as client:
            yield Store(client.store)
    else:
        async with get_client(url=server.url, api_key=None) as asynchronous:
            yield Store(asynchronous.store)


@pytest.fixture(scope="module")
def semantic(start_server: RunningServer) -> Server:
    """A server whose store is searched by meaning."""
    return start_server(SEMANTIC)


@pytest.fixture
def root() -> str:
    """A first label of the test's own."""
    return f"test-{uuid4()}"


def put(server: Server, namespace: list[str], key: str, value: Any, **more: Any) -> None:
    body = {"namespace": namespace, "key": key, "value": value, **more}
    response = server.request("PUT", "/store/items", body)
    assert (response.status, response.body()) == (204, b"")


def get(server: Server, namespace: list[str], key: str, more: str = "") -> Any:
    return server.get(f"/store/items?namespace={'.'.join(namespace)}&key={key}{more}")


def find(server: Server, *prefix: str, **asked: Any) -> list[str]:
    found = server.post("/store/items/search", {"namespace_prefix": [*prefix], **asked})
    return [item["key"] for item in found["items"]]


# ---------------------------------------------------------------- the SDK
async def test_an_item_is_put_read_overwritten_and_deleted(store: Store, root: str) -> None:
    assert await store.put_item([root, "u1"], key="k", value={"n": 1, "é": ["漢"]}) is None
    first = await store.get_item([root, "u1"], key="k")
    assert first.keys() == ITEM
    assert (first["namespace"], first["key"], first["value"]) == ([root, "u1"], "k", {"n": 1, "é": ["漢"]})
    await store.put_item([root, "u1"], key="k", value={"n": 2}, index=["n"], ttl=60)
    second = await store.get_item([root, "u1"], key="k", refresh_ttl=True)
    assert second["value"] == {"n": 2}
    assert second["created_at"] == first["created_at"] < second["updated_at"]
    assert await store.delete_item([root, "u1"], key="k") is None
    assert await store.get_item([root, "u1"], key="k") is None
    await store.delete_item([root, "u1"], key="k")


async def test_a_key_may_be_anything(store: Store, root: str) -> None:
    for key in ("", "a.b", "' OR 1=1 --", "?&=#%2f/ +", "漢字 😀", "\n", "x" * 1_000):
        await store.put_item([root], key=key, value={"key": key})
        assert (await store.get_item([root], key=key))["value"] == {"key": key}
        await store.delete_item([root], key=key)
        assert await store.get_item([root], key=key) is None


async def test_items_are_searched_by_namespace_and_filter_in_pages(store: Store, root: str) -> None:
    for number in range(15):
        await store.put_item([root, str(number % 3)], key=str(number), value={"n": number, "in": {"k": True}})
    found = await store.search_items([root])
    assert [item["key"] for item in found["items"]] == [str(number) for number in range(14, 4, -1)]
    assert all(item.keys() == ITEM | {"score"} for item in found["items"])
    asked = {"filter": {"n": {"$gte": 3, "$lt": 12}, "in": {"k": True}}, "limit": 4, "offset": 2}
    found = await store.search_items([root], **asked, refresh_ttl=False, query="ignored")
    assert [item["value"]["n"] for item in found["items"]] == [9, 8, 7, 6]
    found = await store.search_items([root, "1"], filter={"n": {"$ne": 4}})
    assert [item["key"] for item in found["items"]] == ["13", "10", "7", "1"]
    assert found["items"][0]["score"] is None


async def test_namespaces_are_listed(store: Store, root: str) -> None:
    for namespace in (["a", "x"], ["a", "y", "z"], ["b", "x"]):
        await store.put_item([root, *namespace], key="k", value={})
    listed = await store.list_namespaces(prefix=[root])
    assert listed == {"namespaces": [[root, "a", "x"], [root, "a", "y", "z"], [root, "b", "x"]]}
    for asked, found in (
        ({"prefix": [root, "*"], "suffix": ["x"]}, [["a", "x"], ["b", "x"]]),
        ({"prefix": [root, "a"], "max_depth": 3}, [["a", "x"], ["a", "y"]]),
        ({"prefix": [root], "max_depth": 2}, [["a"], ["b"]]),
        ({"prefix": [root], "limit": 1, "offset": 1}, [["a", "y", "z"]]),
    ):
        listed = await store.list_namespaces(**asked)
        assert [namespace[1:] for namespace in listed["namespaces"]] == found


# ---------------------------------------------------------------- graphs
def test_graphs_and_clients_share_items(server: Server, root: str) -> None:
    put(server, ["facts", root], "by the client", {"text": "tea", "n": 1})
    seen = server.wait("memory", {"user": root, "fact": "likes ice"})["found"]
    assert seen == [
        ["likes ice", {"text": "likes ice"}, None],
        ["by the client", {"text": "tea", "n": 1}, None],
    ]
    assert get(server, ["facts", root], "likes%20ice")["value"] == {"text": "likes ice"}
    seen = server.wait("memory", {"user": root, "filter": {"n": {"$gt": 0}}})["found"]
    assert [item[0] for item in seen] == ["by the client"]


def test_a_graph_whose_filter_makes_no_sense_fails_with_a_text(server: Server, root: str) -> None:
    failed = server.wait("memory", {"user": root, "filter": {"n": {"$in": [1]}}}, raise_error=False)
    assert failed["__error__"]["error"] == "ValueError"
    assert "filter.n: unknown operator '$in'" in failed["__error__"]["message"]


def test_items_outlive_the_server(tmp_path: Path, engine: Engine, root: str) -> None:
    server = start(tmp_path, engine=engine)
    try:
        put(server, ["facts", root], "kept", {"text": "tea"})
        server.wait("memory", {"user": root, "fact": "by a graph"})
    finally:
        stop(server)
    server = start(tmp_path, engine=engine)
    try:
        assert find(server, "facts", root) == ["by a graph", "kept"]
    finally:
        stop(server)


# ---------------------------------------------------------------- times to live
def rows(server: Server, query: str, *parameters: str) -> list[Any]:
    """What the database file says."""
    with closing(sqlite3.connect(f"file:{server.data_dir / 'graphwire.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(query, parameters).fetchall()


@pytest.mark.embedded
def test_what_has_expired_is_neither_shown_nor_kept(semantic: Server, root: str) -> None:
    put(semantic, [root], "short", {"text": "a"}, ttl=0.001)
    put(semantic, [root], "ever", {"text": "a"}, ttl=None)
    assert eventually(lambda: get(semantic, [root], "short", "&refresh_ttl=false") is None)
    assert find(semantic, root) == find(semantic, root, query="a") == ["ever"]
    for table in ("items", "item_vectors"):
        query = f"SELECT key FROM {table} WHERE namespace = ?"
        assert eventually(lambda query=query: rows(semantic, query, root) == [("ever",)])


@pytest.mark.embedded
def test_without_a_ttl_the_projects_default_holds_and_null_is_for_ever(semantic: Server, root: str) -> None:
    put(semantic, [root], "default", {})
    put(semantic, [root], "own", {}, ttl=5)
    put(semantic, [root], "ever", {}, ttl=None)
    found = dict(rows(semantic, "SELECT key, ttl_seconds FROM items WHERE namespace = ?", root))
    assert found == {"default": 3600.0, "own": 300.0, "ever": None}


@pytest.mark.embedded
def test_a_read_prolongs_a_life_unless_it_says_no(semantic: Server, root: str) -> None:
    def left() -> float:
        return float(rows(semantic, "SELECT expires_at FROM items WHERE namespace = ?", root)[0][0])

    put(semantic, [root], "k", {}, ttl=0.1)
    first = left()
    get(semantic, [root], "k", "&refresh_ttl=false")
    find(semantic, root, refresh_ttl=False)
    assert left() == first
    # A life of six seconds is prolonged once a hundredth of it is over.
    for read in (lambda: get(semantic, [root], "k"), lambda: find(semantic, root, refresh_ttl=True)):
        before = left()
        assert eventually(lambda read=read, before=before: bool(read()) and left() > before)


# ---------------------------------------------------------------- searches by meaning
def test_the_nearest_items_come_first(semantic: Server, root: str) -> None:
    for text in ("cc", "abc", "ab", "aab"):
        put(semantic, [root], text, {"text": text})
    put(semantic, [root], "no text", {"other": "a"})
    put(semantic, [root], "hidden", {"text": "a"}, index=False)
    put(semantic, [root], "other path", {"other": "aaaab"}, index=["other"])
    found = semantic.post("/store/items/search", {"namespace_prefix": [root], "query": "a"})["items"]
    scores = [(item["key"], item["score"] and round(item["score"], 3)) for item in found]
    assert scores[:5] == [("other path", 0.97), ("aab", 0.894), ("ab", 0.707), ("abc", 0.577), ("cc", 0.0)]
    assert dict(scores[5:]) == {"no text": None, "hidden": None}
    assert find(semantic, root, query="c", limit=1) == ["cc"]
    assert find(semantic, root, query="a", filter={"text": {"$gt": "ab"}}, limit=2) == ["abc", "cc"]


def test_graphs_search_by_meaning_too(semantic: Server, root: str) -> None:
    for fact in ("bbc", "aab"):
        semantic.wait("memory", {"user": root, "fact": fact})
    seen = semantic.wait("memory", {"user": root, "query": "b"})["found"]
    assert [item[0] for item in seen] == ["bbc", "aab"]
    assert seen[0][2] > seen[1][2]


def test_embeddings_that_fail_are_502_and_nothing_is_stored(semantic: Server, root: str) -> None:
    put(semantic, [root], "k", {"text": "before"})
    body = {"namespace": [root], "key": "k", "value": {"text": "FAIL"}}
    refusals = [
        semantic.request("PUT", "/store/items", body),
        semantic.request("POST", "/store/items/search", {"namespace_prefix": [root], "query": "FAIL"}),
    ]
    for response in refusals:
        assert response.status == 502
        assert response.json() == {"detail": "The embeddings of the store failed: RuntimeError"}
    assert get(semantic, [root], "k")["value"] == {"text": "before"}
    assert "no quota left" in semantic.log
    failed = semantic.wait("memory", {"user": root, "fact": "FAIL"}, raise_error=False)
    assert "no quota left" in failed["__error__"]["message"]


def test_embeddings_that_wait_hold_up_no_stream_and_no_write(semantic: Server, gate: Gate, root: str) -> None:
    held = gate.input()
    slow = threading.Thread(target=put, args=(semantic, [root], "slow", {"text": json.dumps(held)}))
    slow.start()
    embedding = gate.node(held)
    speaking = gate.input()
    stream = semantic.stream("gate", speaking, stream_mode="messages-tuple")
    model = gate.node(speaking)
    for word in ("one ", "two "):
        model.say(word)
        assert stream.next("messages").data[0]["content"] == word
    put(semantic, [root], "quick", {"text": "a"})
    assert find(semantic, root, query="a") == ["quick"]
    model.finish()
    stream.rest()
    assert slow.is_alive()
    embedding.order(go=True)
    slow.join(10)
    assert find(semantic, root) == ["slow", "quick"]


# ---------------------------------------------------------------- what is refused
NAMED = {"namespace": ["a"], "key": "k"}
PUT = {**NAMED, "value": {}}
TOO_MANY = [str(number) for number in range(65)]
REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("PUT", "items", {**PUT, "namespace": []}, 400, "namespace"),
    ("PUT", "items", {**PUT, "namespace": ["langgraph", "x"]}, 400, "namespace"),
    ("PUT", "items", {**PUT, "namespace": ["a", ""]}, 422, "namespace.1"),
    ("PUT", "items", {**PUT, "namespace": ["a.b"]}, 422, "namespace.0"),
    ("PUT", "items", {**PUT, "namespace": ["a\0"]}, 422, "namespace.0"),
    ("PUT", "items", {**PUT, "namespace": ["x" * 257]}, 422, "namespace.0"),
    ("PUT", "items", {**PUT, "namespace": TOO_MANY}, 422, "namespace"),
    ("PUT", "items", {**PUT, "namespace": "a"}, 422, "namespace"),
    ("PUT", "items", {**PUT, "namespace": [1]}, 422, "namespace.0"),
    ("PUT", "items", {"key": "k", "value": {}}, 422, "namespace"),
    ("PUT", "items", {"namespace": ["a"], "value": {}}, 422, "key"),
    ("PUT", "items", {**PUT, "key": None}, 422, "key"),
    ("PUT", "items", {**PUT, "key": 1}, 422, "key"),
    ("PUT", "items", {**PUT, "key": "x" * 1_001}, 422, "key"),
    ("PUT", "items", {**PUT, "key": "\0"}, 422, "key"),
    ("PUT", "items", NAMED, 422, "value"),
    *(("PUT", "items", {**PUT, "value": value}, 422, "value") for value in ([], "x", 1, None, True)),
    ("PUT", "items", {**PUT, "value": {"a": "\0"}}, 422, "value"),
    ("PUT", "items", {**PUT, "value": {"a": "x" * 2**24}}, 422, "value"),
    *(("PUT", "items", {**PUT, "index": value}, 422, "index") for value in (True, "$", 0, {})),
    *(("PUT", "items", {**PUT, "index": value}, 422, "index.0") for value in ([""], [1], [None])),
    *(("PUT", "items", {**PUT, "ttl": value}, 422, "ttl") for value in (0, -1, True, "1", 1e300, 2**70)),
    ("DELETE", "items", {"namespace": ["a"]}, 422, "key"),
    ("DELETE", "items", {"namespace": ["a.b"], "key": "k"}, 422, "namespace.0"),
    ("GET", "items?namespace=a", None, 400, "key"),
    ("GET", "items?key=k", None, 422, "namespace"),
    ("GET", "items?namespace=a..b&key=k", None, 422, "namespace.1"),
    ("GET", "items?namespace=&key=k", None, 422, "namespace.0"),
    ("GET", "items?namespace=a&key=k&refresh_ttl=maybe", None, 422, "refresh_ttl"),
    ("POST", "items/search", {"namespace_prefix": ["a.b"]}, 422, "namespace_prefix.0"),
    ("POST", "items/search", {"namespace_prefix": "a"}, 422, "namespace_prefix"),
    *(("POST", "items/search", {"limit": value}, 422, "limit") for value in (0, -1, 1_001, 2**70, 1.5, "1")),
    *(("POST", "items/search", {"offset": value}, 422, "offset") for value in (-1, 2**70, True)),
    *(("POST", "items/search", {"filter": value}, 422, "filter") for value in ([], "a", 1)),
    ("POST", "items/search", {"filter": {"k": {"$in": [1]}}}, 400, "filter.k"),
    ("POST", "items/search", {"filter": {"k": {"$gt": 1, "x": 1}}}, 400, "filter.k"),
    ("POST", "items/search", {"filter": {"k": {"$gt": None}}}, 400, "filter.k"),
    ("POST", "items/search", {"filter": {str(n): n for n in range(101)}}, 422, "filter"),
    ("POST", "items/search", {"query": 1}, 422, "query"),
    ("POST", "items/search", {"query": "x" * 100_001}, 422, "query"),
    ("POST", "items/search", {"refresh_ttl": "yes"}, 422, "refresh_ttl"),
    *(("POST", "namespaces", {"max_depth": value}, 422, "max_depth") for value in (0, -1, 2**70, "1")),
    *(("POST", "namespaces", {"limit": value}, 422, "limit") for value in (0, -1, 1_001, 2**70)),
    *(("POST", "namespaces", {name: ["a.b"]}, 422, f"{name}.0") for name in ("prefix", "suffix")),
    ("POST", "namespaces", {"prefix": TOO_MANY}, 422, "prefix"),
]


def refused(response: wire.Response) -> tuple[int, str]:
    """The status, and the field that the one sentence of the answer begins with."""
    answer = response.json()
    assert list(answer) == ["detail"]
    return response.status, answer["detail"].partition(":")[0]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"), REFUSED, ids=lambda value: str(value)[:60]
)
def test_what_is_wrong_is_refused_by_name(
    server: Server, method: str, path: str, body: Any, status: int, field: str
) -> None:
    assert refused(server.request(method, f"/store/{path}", body)) == (status, field)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("items/search", {}),
        ("items/search", dict.fromkeys(("namespace_prefix", "filter", "query", "refresh_ttl", "limit"))),
        ("namespaces", {}),
        ("namespaces", dict.fromkeys(("prefix", "suffix", "max_depth", "limit", "offset"))),
    ],
)
def test_what_is_absent_or_null_means_everything(server: Server, path: str, body: Any) -> None:
    assert server.request("POST", f"/store/{path}", body).status == 200


def test_reading_and_deleting_leave_no_namespace_behind(server: Server, root: str) -> None:
    assert get(server, [root, "read"], "k") is None
    for body in ({"namespace": [root, "deleted"], "key": "k"}, {"key": root}):
        assert server.request("DELETE", "/store/items", body).status == 204
    listed = server.post("/store/namespaces", {"limit": 1_000})["namespaces"]
    assert [namespace for namespace in listed if not namespace or namespace[0] == root] == []


# What somebody would break out of a statement or a path with (reliability I4).
HOSTILE = [
    "'", '"', "\\", "a'b", "$.a", "a[0]", "' OR 1=1 --", "') OR ('1'='1", "'; DROP TABLE items; --",
    "a') = 1 UNION SELECT * FROM runs --", '") OR 1=1 --', ":at", "?", "%", "items.value", "\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def victim(server: Server) -> Iterator[str]:
    """An item that no hostile filter may find."""
    label = f"victim-{uuid4()}"
    put(server, [label], "secret", {"secret": 1})
    yield label
    assert get(server, [label], "secret")["value"] == {"secret": 1}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_find_nothing_wherever_they_stand(server: Server, victim: str, text: str) -> None:
    for wanted in (1, "1", [1], {"deep": {"x": 1}}, {"$eq": 1}, {"$gte": 0}, {"$lt": "x"}):
        assert find(server, victim, filter={text: wanted}) == []
    for wanted in (text, [text], {"a": text}, {"$eq": text}, {"$gt": text}, {"$lte": text}):
        assert find(server, victim, filter={"secret": wanted}) == []
    label = text.replace(".", "")
    assert find(server, label) == find(server, victim, label) == []
    for pattern in ({"prefix": [victim, label]}, {"suffix": [label]}):
        assert server.post("/store/namespaces", pattern) == {"namespaces": []}
    assert find(server, victim, query=text) == ["secret"]
