"""The store, as a user of the JavaScript SDK meets it."""

from uuid import uuid4

from .test_js_sdk import Client, client

__all__ = ["client"]


def test_items_are_put_read_found_listed_and_deleted(client: Client) -> None:
    root = f"js-{uuid4()}"
    client.start("store.putItem", [root, "u1"], "k", {"n": 1, "é": "漢"}, {"index": None, "ttl": None})
    assert "error" not in client.hear()
    client.start("store.putItem", [root, "u2"], "k", {"n": 2}, {"index": False, "ttl": 5})
    assert "error" not in client.hear()
    item = client.call("store.getItem", [root, "u1"], "k", {"refreshTtl": True})
    assert (item["namespace"], item["key"], item["value"]) == ([root, "u1"], "k", {"n": 1, "é": "漢"})
    assert item["createdAt"] == item["created_at"]
    assert client.call("store.getItem", [root, "u1"], "missing") is None
    found = client.call("store.searchItems", [root], {"filter": {"n": {"$gt": 0}}, "limit": 1, "query": "x"})
    assert [(each["value"], each["score"]) for each in found["items"]] == [({"n": 2}, None)]
    listed = client.call("store.listNamespaces", {"prefix": [root], "suffix": ["u1"], "maxDepth": 2})
    assert listed == {"namespaces": [[root, "u1"]]}
    client.start("store.deleteItem", [root, "u1"], "k")
    assert "error" not in client.hear()
    assert client.call("store.getItem", [root, "u1"], "k") is None
