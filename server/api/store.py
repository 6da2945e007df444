"""The store: write, read, delete and find items; list namespaces (contract/resources.md 6)."""

from starlette.requests import Request
from starlette.responses import Response

from ..errors import Invalid, RequestError
from ..rules.items import ItemGet
from . import requests
from .context import caller, services
from .responses import json, no_content
from .schemas.store import (
    ItemName,
    ItemsSearch,
    ItemWrite,
    NamespacesSearch,
    item_view,
    items_view,
    namespaces_view,
)


async def put(request: Request) -> Response:
    """Write an item."""
    asked = await requests.body(request, ItemWrite)
    await services(request).store.put(caller(request), asked.to_put())
    return no_content()


async def get(request: Request) -> Response:
    """One item; null when there is none."""
    query = request.query_params
    if "key" not in query:
        raise RequestError("key: is a required parameter")
    if "namespace" not in query:
        raise Invalid("namespace: is a required parameter, labels joined by dots")
    named = {"namespace": query["namespace"].split("."), "key": query["key"]}
    name = requests.validate(ItemName, named)
    refresh = requests.flag(request, "refresh_ttl") if "refresh_ttl" in query else None
    asked = ItemGet(tuple(name.namespace), name.key, refresh)
    found = await services(request).store.get(caller(request), asked)
    return json(None if found is None else item_view(found))


async def delete(request: Request) -> Response:
    """Delete an item, if it is there."""
    asked = await requests.body(request, ItemName)
    await services(request).store.delete(caller(request), tuple(asked.namespace), asked.key)
    return no_content()


async def search(request: Request) -> Response:
    """Items by namespace, filter and meaning."""
    asked = await requests.body(request, ItemsSearch)
    return json(items_view(await services(request).store.search(caller(request), asked.to_search())))


async def namespaces(request: Request) -> Response:
    """Namespaces by prefix and suffix, cut at a depth."""
    asked = await requests.body(request, NamespacesSearch)
    found = await services(request).store.namespaces(caller(request), asked.to_search())
    return json(namespaces_view(found))
